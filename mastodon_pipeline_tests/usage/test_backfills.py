"""Overlapping backfills at the same time, in separate processes, on the real object store.

Nothing is locked: each run opens a DuckDB in memory, and a table's file is replaced whole.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.usage.checks.hours import hours_equal_recount, no_duplicate_toots
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline_tests.support.bucket import temporary_bucket
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record, rows
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

HOURS = [HOUR + timedelta(hours=number) for number in range(-7, 1)]
REFRESHES = 6
"""At most; a machine with other work would make many more of them."""
TABLES = "toots,toots_per_server_per_hour,hashtag_usage"


@pytest.fixture
def lake(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lake]:
    """A bucket of this test, in which eight hours have landed, in three files each."""
    with temporary_bucket("backfill", monkeypatch) as settings, open_lake(settings) as opened:
        for hour in HOURS:
            for file in range(3):
                records = [
                    record(
                        uri=f"{hour}/{file}/{number}",
                        created_at=hour + timedelta(minutes=number),
                        server=f"server{number % 3}.example",
                        username=f"user{number}",
                        kafka_offset=number,
                    )
                    for number in range(20)
                ]
                land(opened, *records, name=f"{file}")
        yield opened


def backfill(home: Path, first: int, last: int) -> subprocess.Popen[str]:
    """Materialize a range of the hours from the shell, in one run."""
    return subprocess.Popen(
        [
            str(Path(sys.executable).with_name("dagster")),
            *("asset", "materialize", "-m", "mastodon_pipeline.definitions", "--select", TABLES),
            *("--partition-range", f"{HOURS[first]:{HOUR_KEY}}...{HOURS[last]:{HOUR_KEY}}"),
        ],
        cwd=home,  # not the checkout: Dagster's commands prefer a person's .env to the environment
        env={**os.environ, "DAGSTER_HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def refresh(instance: dg.DagsterInstance, first: int, last: int) -> bool:
    """Run the sensor's job over a range, as the daemon would."""
    tags = {RANGE_START: f"{HOURS[first]:{HOUR_KEY}}", RANGE_END: f"{HOURS[last]:{HOUR_KEY}}"}
    job = definitions.resolve_job_def("refresh_hourly_usage")
    return job.execute_in_process(instance=instance, tags=tags, raise_on_error=False).success


def tables(lake: Lake) -> dict[str, str]:
    """The hours' tables by their etags, which are sums over the content."""
    return {
        file.path: file.etag
        for folder in ("toots", "usage")
        for file in lake.list_files(f"{lake.layout.root}/{folder}/")
    }


def test_concurrent_backfills_and_refreshes_meet_no_lock_and_agree(
    lake: Lake, tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    """Two over overlapping ranges and, while they build, the sensor's job over a third.

    They share a Dagster home, as runs of one installation do. Shows G16 and G18.
    """
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    # First: two processes would both try to create its tables.
    with dg.DagsterInstance.from_config(str(home)) as created:
        assert created.get_run_ids() == []
    running = [backfill(home, 0, 5), backfill(home, 2, 7)]

    def runs() -> bool:
        return any(process.poll() is None for process in running)

    wait_until(lambda: tables(lake) or not runs(), "the first table is there")
    refreshed = [refresh(instance, 1, 4)]
    while runs() and len(refreshed) < REFRESHES:
        refreshed.append(refresh(instance, 1, 4))
    logs = [process.communicate()[0] for process in running]
    ends = "\n".join(log[-3000:] for log in logs)
    assert [process.returncode for process in running] == [0, 0], ends
    assert all(refreshed)
    for log in logs:
        assert "Could not set lock" not in log
        assert "RETRY" not in log, "nothing had to be tried twice"
    together = tables(lake)
    assert len(together) == 3 * len(HOURS)
    assert hours_equal_recount(lake, HOURS).faults == ()
    assert no_duplicate_toots(lake, HOURS).faults == ()
    counts = [row for hour in HOURS for row in rows(lake, lake.layout.toots_per_server(hour))]
    assert sum(row["toots"] for row in counts) == 60 * len(HOURS)
    assert refresh(instance, 0, 7)
    assert tables(lake) == together, "one run by itself makes the same files, byte for byte"


def test_backfill_of_a_range_of_hours_is_one_run(lake: Lake, instance: dg.DagsterInstance) -> None:
    """That makes it cheap."""
    assert refresh(instance, 0, 7)
    assert len(instance.get_run_ids()) == 1
    for key in ("toots", "toots_per_server_per_hour"):
        built = instance.get_materialized_partitions(dg.AssetKey(key))
        assert built == {f"{hour:{HOUR_KEY}}" for hour in HOURS}
