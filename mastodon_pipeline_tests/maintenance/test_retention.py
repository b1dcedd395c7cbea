"""Landed days past their retention, on the real stack: removed, kept in `toots`, and reopened.

The tests of this module share one lake and run in order, as months would pass.
"""

import os
import signal
from datetime import datetime, timedelta

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.usage.checks.hours import hours_equal_recount
from mastodon_pipeline_tests.support.sink_lake import OLD, YOUNG, SinkLake
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def aged_lake(sink_lake: SinkLake) -> SinkLake:
    """The lake with two hours of an old day, landed and counted."""
    sink_lake.land(200, OLD, hours=2)
    sink_lake.build(OLD, hours=2)
    sink_lake.age()
    sink_lake.build(YOUNG)
    return sink_lake


def landed_files(aged_lake: SinkLake, hour: datetime) -> list[str]:
    """List the landed files of an hour's day: one or more, as the sink's commits fell."""
    day = Layout.of(aged_lake.settings).landed_day(hour.date())
    return [path for path in aged_lake.objects() if path.startswith(day)]


def is_complete(aged_lake: SinkLake) -> bool:
    """Return whether all of Kafka's records are accounted for, as Dagster's check does."""
    with open_lake(aged_lake.settings) as lake:
        completeness = landing_completeness(aged_lake.settings, lake)
    assert completeness.checked >= aged_lake.produced
    return completeness.complete


def test_dry_run_reports_what_it_would_do_and_changes_nothing(aged_lake: SinkLake) -> None:
    """Neither in the bucket, the lock included, nor in the catalog."""
    before, table = aged_lake.objects(), open_table(aged_lake.settings)
    old_files = landed_files(aged_lake, OLD)
    report = aged_lake.maintain(dry_run=True)
    assert (report.folders_verified, report.folders_left) == (1, {})
    assert report.dropped.files == len(old_files) >= 1
    assert report.dropped.bytes > 0
    assert report.snapshots_expired >= 1
    after = open_table(aged_lake.settings)
    assert table is not None
    assert after is not None
    assert aged_lake.objects() == before
    assert after.metadata_location == table.metadata_location


def test_verified_hour_is_first_dropped_from_the_iceberg_table(aged_lake: SinkLake) -> None:
    """Its files stay in the bucket while a snapshot names them."""
    files = {path for path in aged_lake.objects() if "/topics/" in path}
    rows = aged_lake.iceberg_rows()
    assert rows == aged_lake.produced
    report = aged_lake.maintain()
    assert (report.folders_verified, report.folders_waiting, report.folders_removed) == (1, 1, 0)
    assert aged_lake.iceberg_rows() == rows - 200
    assert {path for path in aged_lake.objects() if "/topics/" in path} == files
    assert aged_lake.distinct_toots() == aged_lake.landed_records() == aged_lake.produced
    assert is_complete(aged_lake)


def test_files_are_removed_once_no_snapshot_names_them(aged_lake: SinkLake) -> None:
    """The sink continues to commit, its table and its folders agree, and no toot is lost.

    Shows G17.
    """
    aged_lake.age()
    aged_lake.build(YOUNG)
    old_files = landed_files(aged_lake, OLD)
    report = aged_lake.maintain()
    assert (report.folders_removed, report.folders_waiting) == (1, 0)
    assert report.removed.files == len(old_files) >= 1
    assert aged_lake.landed_records() == aged_lake.iceberg_rows() == aged_lake.produced - 200
    assert aged_lake.distinct_toots() == aged_lake.produced
    assert is_complete(aged_lake), "what was removed is not missing"
    with open_lake(aged_lake.settings) as lake:
        finding = hours_equal_recount(lake, [OLD, OLD + HOUR])
    assert (finding.compared, finding.faults) == (2, ())
    assert aged_lake.maintain().removed.files == 0, "nothing is left to do"


def test_late_toot_reopens_a_removed_hour(aged_lake: SinkLake) -> None:
    """It joins the hour's toots, is verified with them, and its file is removed in turn.

    Shows G17.
    """
    aged_lake.land(1, OLD)
    aged_lake.build(OLD)
    assert aged_lake.distinct_toots() == aged_lake.produced
    for _ in range(2):
        aged_lake.age()
        aged_lake.build(YOUNG)
        report = aged_lake.maintain()
    assert report.folders_removed == 1
    assert aged_lake.landed_records() == aged_lake.iceberg_rows() == aged_lake.produced - 201
    assert aged_lake.distinct_toots() == aged_lake.produced
    aged_lake.build(OLD, hours=2)
    assert aged_lake.distinct_toots() == aged_lake.produced
    assert is_complete(aged_lake)


def test_connect_killed_after_maintenance_neither_loses_nor_doubles_records(
    aged_lake: SinkLake, stack: Stack
) -> None:
    """When it restarts, the snapshot that holds the sink's position is still there."""
    aged_lake.age()
    aged_lake.maintain()
    outside = aged_lake.produced - aged_lake.iceberg_rows()

    def connect_pid() -> int:
        return next(program.pid for program in stack.status() if program.name == "connect")

    before = connect_pid()
    os.kill(before, signal.SIGKILL)
    aged_lake.produce(100, YOUNG)
    wait_until(lambda: connect_pid() not in (0, before), "Connect is started again", 1200)
    wait_until(
        lambda: aged_lake.iceberg_rows() >= aged_lake.produced - outside,
        "the sink has caught up",
        timeout_seconds=1200,
    )
    aged_lake.land(1, YOUNG)
    assert aged_lake.iceberg_rows() == aged_lake.produced - outside
    assert is_complete(aged_lake)
    aged_lake.build(YOUNG)
    assert aged_lake.distinct_toots() == aged_lake.produced


def test_sink_commits_during_maintenance_and_neither_loses_the_others_changes(
    aged_lake: SinkLake,
) -> None:
    """Both commit to the same table."""
    outside = aged_lake.produced - aged_lake.iceberg_rows()
    aged_lake.land(20, OLD + 10 * HOUR, hours=4)
    aged_lake.build(OLD + 10 * HOUR, hours=4)
    aged_lake.age()
    for _ in range(4):
        aged_lake.produce(20, YOUNG)
        aged_lake.maintain()
    aged_lake.produce(1, YOUNG)
    left = aged_lake.produced - outside - 20
    wait_until(lambda: aged_lake.iceberg_rows() >= left, "the sink has committed all of them")
    aged_lake.build(YOUNG)
    assert aged_lake.distinct_toots() == aged_lake.produced
    assert aged_lake.iceberg_rows() == left
    assert is_complete(aged_lake)
