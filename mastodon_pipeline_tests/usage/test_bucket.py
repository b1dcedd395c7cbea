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
from mastodon_pipeline.errors import BucketMissing, ObjectStoreUnavailable
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.refreshing.sensor import landed_toots_sensor
from mastodon_pipeline.usage.remembered_day import FirstDay, save_first_day
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline.usage.views import open_views
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    delete,
    in_order,
    land,
    record,
    rows,
)

CHARTS = sorted(chart.name for table in TABLES for chart in table.charts)
HOURLY_NAMES = [table.name for table in HOURLY_TABLES if table.name != "toots"]
DAILY_NAMES = sorted(table.name for table in DAILY_TABLES)
KEY = "2026-11-24-15:00"
BIN = Path(sys.executable).parent


@pytest.fixture
def lake(bucket: Settings) -> Iterator[Lake]:
    """The lake in that bucket, with an hour's records landed by two files."""
    with open_lake(bucket) as opened:
        land(opened, *in_order(record(), record()), name="one")
        land(
            opened,
            record(uri="b", status_id="2", server="two.example", kafka_offset=7),
            delete(uri="b", status_id="2", kafka_offset=8),
            name="two",
        )
        yield opened


def execute(instance: dg.DagsterInstance, job: str, **options: Any) -> Any:
    """Run a job as the daemon would, on the settings' bucket."""
    return definitions.resolve_job_def(job).execute_in_process(instance=instance, **options)


def test_tables_are_objects_in_the_layout_that_readers_rely_on(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """Hours, days, charts; and one file an hour of toots."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    assert execute(instance, "refresh_daily_usage", partition_key="2026-11-24").success
    root = lake.layout.root
    written = [file.path.removeprefix(root) for file in lake.list_files(f"{root}/")]
    assert [path for path in written if not path.startswith("/topics/")] == [
        *(f"/charts/{name}/day=2026-11-24.png" for name in CHARTS),
        lake.accounts(DAY).removeprefix(root),
        "/toots/day=2026-11-24/hour=15/toots.parquet",
        *sorted(
            [
                *(f"/usage/{name}/day=2026-11-24/{name}.parquet" for name in DAILY_NAMES),
                *(f"/usage/{name}/day=2026-11-24/15.parquet" for name in HOURLY_NAMES),
            ]
        ),
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


def test_tables_can_be_read_by_a_glob(lake: Lake, instance: dg.DagsterInstance) -> None:
    """No folder's name hides the table's hour."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    pattern = f"{lake.layout.root}/usage/toots_per_server_per_hour/*/*.parquet"
    counts = lake.connection.execute("FROM read_parquet($files)", {"files": pattern}).fetchall()
    assert {row[0] for row in counts} == {HOUR}


def test_building_objects_again_changes_no_byte(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Etags, which are checksums of the content, stay the same."""

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
    freshness = scan(lake, Cursor(), now, DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((), ())
    after = HOUR + timedelta(hours=1)
    land(lake, record(created_at=after))
    assert scan(lake, Cursor(), after, DAY).stale_hours == (after,)
    outcome = execute(
        instance,
        "refresh_hourly_usage",
        tags={RANGE_START: KEY, RANGE_END: "2026-11-24-16:00"},
    )
    passed = {check.check_name: check.passed for check in outcome.get_asset_check_evaluations()}
    assert passed == {
        "no_duplicate_toots": False,
        "hour_equals_recount": True,
        "hashtags_equal_recount": True,
    }


def test_table_is_materialized_from_the_shell(lake: Lake, tmp_path: Path) -> None:
    """`dagster asset materialize -m mastodon_pipeline.definitions --select ...`, as in CI."""
    (tmp_path / "dagster.yaml").touch()
    outcome = subprocess.run(
        [
            *(str(BIN / "dagster"), "asset", "materialize", "-m", "mastodon_pipeline.definitions"),
            *("--select", "toots,toots_per_server_per_hour", "--partition", KEY),
        ],
        cwd=tmp_path,  # not the checkout: Dagster's commands prefer its .env to the environment
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    secret = load_settings().aws_secret_access_key
    assert secret
    assert secret.get_secret_value() not in outcome.stdout + outcome.stderr
    assert len(rows(lake, lake.layout.toots_per_server(HOUR))) == 2


def run_sql(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `mastodon-pipeline sql` as a person does."""
    return subprocess.run(
        [str(BIN / "mastodon-pipeline"), "sql", *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        **options,
    )


def test_tables_can_be_queried_from_the_shell(lake: Lake) -> None:
    """By argument or through a pipe; an error is one line."""
    assert run_sql("--csv", "SHOW TABLES").stdout == "name\n", "nothing is built yet"
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    counts = run_sql("--csv", "SELECT server, toots FROM toots_per_server_per_hour ORDER BY server")
    assert counts.stdout == "server,toots\none.example,1\ntwo.example,1\n", counts.stderr
    piped = run_sql("--json", input="SELECT count(*) AS n FROM mastodon_toot;")
    assert piped.stdout == '[{"n":2}]\n', piped.stderr
    tables = run_sql("--csv", "SHOW TABLES").stdout.split()[1:]
    built = ["toots", *HOURLY_NAMES, *DAILY_NAMES]
    assert tables == sorted([*built, "language", "mastodon_toot"])
    wrong = run_sql("SELECT nothing FROM toots")
    assert wrong.returncode == 1
    assert wrong.stderr.startswith("mastodon-pipeline: Binder Error: ")
    assert wrong.stderr.count("\n") == 1


def test_object_store_keys_cannot_be_queried(
    lake: Lake, instance: dg.DagsterInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither by listing secrets or settings, nor by lifting their redaction. Shows G20."""
    secret = load_settings().aws_secret_access_key
    assert secret
    refusals: list[str] = []
    with open_views(load_settings()) as connection:
        for statement in (
            "FROM duckdb_secrets()",
            "FROM duckdb_secrets(redact := false)",
            "SET allow_unredacted_secrets = true; FROM duckdb_secrets(redact := false)",
            "FROM duckdb_settings()",
            "RESET s3_secret_access_key; SELECT current_setting('s3_secret_access_key')",
        ):
            try:
                print_results(connection, statement, "json")
            except duckdb.Error as error:
                refusals.append(str(error))
        print_results(connection, "FROM duckdb_secrets()", "json")
    output = capsys.readouterr()
    assert "redacted" in output.out
    assert secret.get_secret_value() not in "".join([output.out, output.err, *refusals])


def test_open_query_blocks_no_build(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Tables are built while somebody reads them. Shows G16."""
    assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
    with open_views(load_settings()) as reader:
        reading = reader.execute("SELECT toots.* FROM toots, range(100000)")
        assert reading.fetchone()
        assert execute(instance, "refresh_hourly_usage", partition_key=KEY).success
        assert reading.fetchone()


def test_scan_without_an_object_store_raises_one_line(
    bucket: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the address and what to do."""
    monkeypatch.setenv("S3_ENDPOINT", "http://127.0.0.1:9")
    message = "127.0.0.1:9 does not answer: start it with `make up`"
    with pytest.raises(ObjectStoreUnavailable, match=message), open_lake(load_settings()) as lake:
        scan(lake, Cursor(), datetime.now(UTC), DAY)


def test_sensor_of_a_new_installation_waits_for_its_bucket(
    bucket: Settings, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its first ticks come before the job that creates it. A bucket that is gone is an error."""
    monkeypatch.setenv("S3_BUCKET", f"{bucket.s3_bucket}-not-yet")
    skipped = landed_toots_sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(skipped, dg.SkipReason)
    assert "the job kafka_connect_config creates it" in (skipped.skip_message or "")
    save_first_day(instance, FirstDay(DAY, datetime.now(UTC)))
    with pytest.raises(BucketMissing):
        landed_toots_sensor(dg.build_sensor_context(instance=instance))
