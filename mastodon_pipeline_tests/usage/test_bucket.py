"""The usage tables in a real object store: written, read back, checked, and built again."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import pytest

from mastodon_pipeline.cli.query_printing import print_results
from mastodon_pipeline.errors import ObjectStoreUnavailable
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.refreshing.freshness import Cursor, look
from mastodon_pipeline.usage.refreshing.sensor import RANGE_END, RANGE_START
from mastodon_pipeline.usage.tables.building import DAILY_TABLES
from mastodon_pipeline.usage.views import open_views
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    delete,
    in_order,
    land,
    record,
    rows,
)

CHARTS = [
    *("app", "hour_of_day", "language", "language_density", "servers_by_hour", "toots_per_server")
]
KEY = "2026-11-24-15:00"
BIN = Path(sys.executable).parent


@pytest.fixture
def lake(bucket: Settings) -> Iterator[Lake]:
    """The lake in that bucket, with an hour's records landed by two files."""
    with open_lake(bucket) as opened:
        land(opened, *in_order(record(), record()), name="one")
        land(
            opened,
            record(uri="b", status_id="2", server="two.example", _offset=7),
            delete(uri="b", status_id="2", _offset=8),
            name="two",
        )
        yield opened


def execute(instance: dg.DagsterInstance, job: str, **how: Any) -> Any:
    """Runs a job as the daemon would, with the settings' own bucket."""
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, **how)


def test_the_tables_are_objects_in_the_layout_that_readers_rely_on(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """Hours, days, charts; and one file an hour of toots."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    assert execute(instance, "refresh_daily_usage", partition_key="2026-11-24").success
    root = lake.layout.root
    written = [file.path.removeprefix(root) for file in lake.list_files(f"{root}/")]
    assert [path for path in written if not path.startswith("/topics/")] == [
        *sorted(f"/charts/{name}/day=2026-11-24.png" for name in CHARTS),
        "/toots/day=2026-11-24/hour=15/toots.parquet",
        *(f"/usage/{name}/day=2026-11-24/{name}.parquet" for name in sorted(DAILY_TABLES)),
        "/usage/toots_per_server_per_hour/day=2026-11-24/15.parquet",
    ]
    counts = rows(lake, lake.layout.toots_per_server(HOUR))
    assert [(row["server"], row["toots"]) for row in counts] == [
        ("one.example", 1),
        ("two.example", 1),
    ]
    assert rows(lake, lake.layout.daily("daily_usage", DAY))[0]["toots"] == 2
    codecs = lake.connection.execute(
        "SELECT DISTINCT compression FROM parquet_metadata($file)",
        {"file": lake.layout.toots(HOUR)},
    ).fetchall()
    assert codecs == [("ZSTD",)]


def test_anybody_can_read_the_tables_by_a_glob(lake: Lake, instance: dg.DagsterInstance) -> None:
    """The table's own hour is not hidden behind a folder's name."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    pattern = f"{lake.layout.root}/usage/toots_per_server_per_hour/*/*.parquet"
    found = lake.connection.execute("FROM read_parquet($files)", {"files": pattern}).fetchall()
    assert {row[0] for row in found} == {HOUR}


def test_building_again_changes_no_byte(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Etags, which are sums over the content, stay."""

    def etags() -> dict[str, str]:
        assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
        assert execute(instance, "refresh_daily_usage", partition_key="2026-11-24").success
        return {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}

    assert etags() == etags()


def test_checks_and_freshness_follow_the_bucket(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Fresh after a run, stale after a late file, and a planted copy fails its check."""
    now = HOUR + timedelta(minutes=30)
    execute(instance, "refresh_hourly_usage", partition_key=KEY)
    execute(instance, "refresh_daily_usage", partition_key="2026-11-24")
    found = look(lake, Cursor(), now, DAY)
    assert (found.stale_hours, found.stale_days) == ((), ())
    after = HOUR + timedelta(hours=1)
    land(lake, record(created_at=after))
    assert look(lake, Cursor(), after, DAY).stale_hours == (after,)
    outcome = execute(
        instance,
        "refresh_hourly_usage",
        tags={RANGE_START: KEY, RANGE_END: "2026-11-24-16:00"},
    )
    passed = {one.check_name: one.passed for one in outcome.get_asset_check_evaluations()}
    assert passed == {"no_duplicate_toots": False, "hour_equals_recount": True}


def test_a_table_is_materialised_from_the_shell(lake: Lake, tmp_path: Path) -> None:
    """As CI would: `dagster asset materialize -m mastodon_pipeline.definitions --select ...`."""
    (tmp_path / "dagster.yaml").touch()
    outcome = subprocess.run(
        [
            *(str(BIN / "dagster"), "asset", "materialize", "-m", "mastodon_pipeline.definitions"),
            *("--select", "toots,toots_per_server_per_hour", "--partition", KEY),
        ],
        cwd=REPOSITORY,
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    secret = load_settings().aws_secret_access_key
    assert secret
    assert secret.get_secret_value() not in outcome.stdout + outcome.stderr
    assert len(rows(lake, lake.layout.toots_per_server(HOUR))) == 2


def ask(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
    """`mastodon-pipeline sql` as a person runs it."""
    return subprocess.run(
        [str(BIN / "mastodon-pipeline"), "sql", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        **how,
    )


def test_anybody_may_ask_in_sql_from_the_shell(lake: Lake, instance: dg.DagsterInstance) -> None:
    """By argument or through a pipe; what is wrong is one line; the keys cannot be asked for."""
    assert ask("--csv", "SHOW TABLES").stdout == "name\n", "nothing is built yet"
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    assert execute(instance, "refresh_daily_usage", partition_key="2026-11-24").success
    found = ask("--csv", "SELECT server, toots FROM toots_per_server_per_hour ORDER BY server")
    assert found.stdout == "server,toots\none.example,1\ntwo.example,1\n", found.stderr
    piped = ask("--json", input="SELECT count(*) AS n FROM mastodon_toot;")
    assert piped.stdout == '[{"n":2}]\n', piped.stderr
    tables = ask("--csv", "SHOW TABLES").stdout.split()[1:]
    built = ["toots", "toots_per_server_per_hour", *DAILY_TABLES]
    assert tables == sorted([*built, "language", "mastodon_toot"])
    wrong = ask("SELECT nothing FROM toots")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("mastodon-pipeline: Binder Error: ")
    assert wrong.stderr.count("\n") == 1


def test_the_keys_cannot_be_asked_for(
    lake: Lake, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not by what lists secrets or settings, and not by what would lift their redaction."""
    secret = load_settings().aws_secret_access_key
    assert secret
    refusals: list[str] = []
    with open_views(load_settings()) as connection:
        for asked in (
            "FROM duckdb_secrets()",
            "FROM duckdb_secrets(redact := false)",
            "SET allow_unredacted_secrets = true; FROM duckdb_secrets(redact := false)",
            "FROM duckdb_settings()",
            "RESET s3_secret_access_key; SELECT current_setting('s3_secret_access_key')",
        ):
            try:
                print_results(connection, asked, "json")
            except duckdb.Error as error:
                refusals.append(str(error))
        print_results(connection, "FROM duckdb_secrets()", "json")
    told = capsys.readouterr()
    assert "redacted" in told.out
    assert secret.get_secret_value() not in "".join([told.out, told.err, *refusals])


def test_a_reader_in_the_middle_of_a_query_locks_nobody_out(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """Tables are built while somebody reads them."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    with open_views(load_settings()) as reader:
        reading = reader.execute("SELECT toots.* FROM toots, range(100000)")
        assert reading.fetchone()
        assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
        assert reading.fetchone()


def test_an_object_store_that_is_down_is_one_line(
    bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the address and what to do."""
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    message = "127.0.0.1:9 does not answer: start it with `make up`"
    with pytest.raises(ObjectStoreUnavailable, match=message), open_lake(load_settings()) as lake:
        look(lake, Cursor(), datetime.now(UTC), DAY)
