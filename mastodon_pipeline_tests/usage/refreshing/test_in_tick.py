"""Small hours are built within the sensor's tick; everything else is left to runs."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from mastodon_pipeline.lake import resource
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.partition_keys import HOUR_KEY
from mastodon_pipeline.usage.refreshing import in_tick, sensor
from mastodon_pipeline.usage.refreshing.freshness import Freshness
from mastodon_pipeline.usage.refreshing.in_tick import HourBuilder
from mastodon_pipeline.usage.refreshing.sensor import run_requests
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline.usage.tables.table import BuiltPartition
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record, rows
from mastodon_pipeline_tests.support.sensor_ticks import (
    HOURLY,
    TICKS,
    Clock,
    hourly,
    materialized,
    ranges,
    run,
    tick,
)

pytestmark = pytest.mark.thorough


def test_tick_builds_and_checks_the_running_hour_without_a_run(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """Each toot once, from the files that are new and those before. Shows G14."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for number in range(3):
        # The second file brings a toot of the first again.
        toots = [record(uri=f"{each}", created_at=this_hour) for each in (number, number + 1)]
        land(lake, *toots, name=f"{number}")
        result = tick(instance, lake)
        assert hourly(result) == []
        counts = rows(lake, lake.layout.toots_per_server(this_hour))
        assert [row["toots"] for row in counts] == [number + 2]
        key = this_hour.strftime(HOUR_KEY)
        assert materialized(result) == {table.name: {key} for table in HOURLY_TABLES}
        checks = [e for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)]
        assert {check.check_name for check in checks} == {
            "no_duplicate_toots",
            "hour_equals_recount",
            "hashtags_equal_recount",
        }
        assert all(check.passed for check in checks)


def test_removed_landed_file_leaves_the_running_hour(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was copied from it is not counted any more, once all files are listed again."""
    monkeypatch.setattr(resource, "COMPLETE_EVERY_SECONDS", 0.0)
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(uri="a", created_at=this_hour), name="a")
    land(lake, record(uri="b", created_at=this_hour), name="b")
    cursor = str(tick(instance, lake).cursor)
    (removed,) = Path(lake.layout.root).glob("topics/**/b.parquet")
    removed.unlink()
    tick(instance, lake, cursor)
    assert [row["uri"] for row in rows(lake, lake.layout.toots(this_hour))] == ["a"]


def test_unchanged_outcome_is_not_reported_at_each_tick(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's storage keeps each report for good; a table is built all the same."""
    monkeypatch.setattr(sensor, "HOURS", HourBuilder(lambda: TICKS[-1] * 40.0))
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    reports = []
    for number in range(3):
        land(lake, record(uri=f"{number}", created_at=this_hour), name=f"{number}")
        reports.append(len(materialized(tick(instance, lake))))
    assert reports == [len(HOURLY_TABLES), 0, 0]
    assert len(rows(lake, lake.layout.toots(this_hour))) == 3


def test_hour_just_built_within_a_tick_rests_for_a_multiple_of_what_that_took(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the tick nor a run builds it meanwhile."""
    monkeypatch.setattr(sensor, "HOURS", HourBuilder(clock := Clock()))
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(uri="a", created_at=this_hour), name="a")
    tick(instance, lake)
    land(lake, record(uri="b", created_at=this_hour), name="b")
    assert hourly(tick(instance, lake)) == []
    assert len(rows(lake, lake.layout.toots(this_hour))) == 1
    clock.seconds += 60
    tick(instance, lake)
    assert len(rows(lake, lake.layout.toots(this_hour))) == 2


def test_backlog_of_past_hours_is_left_to_runs(instance: dg.DagsterInstance, lake: Lake) -> None:
    """The running hour does not wait for it."""
    now = datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=ago) for ago in (0, 4, 6, 8)]
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in hours))
    result = tick(instance, lake)
    assert len(rows(lake, lake.layout.toots(this_hour))) == 1
    keys = [hour.strftime(HOUR_KEY) for hour in hours[1:3]]
    assert hourly(result) == [(HOURLY, key, key) for key in keys]


def test_large_hour_is_left_to_a_run(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick may take a minute."""
    monkeypatch.setattr(in_tick, "MAX_BYTES", 100)
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(created_at=this_hour))
    key = this_hour.strftime(HOUR_KEY)
    assert hourly(tick(instance, lake)) == [(HOURLY, key, key)]


def test_hour_that_cannot_be_built_within_a_tick_is_left_to_a_run(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure stops no other hour, and a run shows it. Shows G14."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    other = this_hour - timedelta(hours=4)
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in (this_hour, other)))
    toots, *counts = HOURLY_TABLES
    build = toots.build

    def fail(lake: Lake, hour: datetime) -> BuiltPartition:
        if hour == this_hour:
            raise duckdb.IOException("the disk is full")
        return build(lake, hour)

    monkeypatch.setattr(in_tick, "HOURLY_TABLES", (replace(toots, build=fail), *counts))
    key = this_hour.strftime(HOUR_KEY)
    assert hourly(tick(instance, lake)) == [(HOURLY, key, key)]
    assert len(rows(lake, lake.layout.toots(other))) == 1


def test_hour_that_is_over_is_built_once_more_by_a_run(instance: dg.DagsterInstance) -> None:
    """It is recounted from the landed files themselves, once its last toots have landed."""
    over = Freshness((), (), (), last_hour=HOUR)
    end = HOUR + timedelta(hours=1)
    assert run_requests(instance, over, end + timedelta(minutes=2))[0] == []
    later = end + timedelta(minutes=4)
    key = HOUR.strftime(HOUR_KEY)
    assert ranges(run_requests(instance, over, later)[0]) == [(HOURLY, key, key)]
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS, key)  # now, which is later
    assert run_requests(instance, over, datetime.now(UTC) + timedelta(minutes=1))[0] == []


def test_late_toots_of_a_past_hour_of_many_files_are_collected(
    instance: dg.DagsterInstance,
) -> None:
    """Each build of it reads all of them."""
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS)
    now = datetime.now(UTC)
    files = [StoredFile(f"{number}", "", HOUR, 1) for number in range(360)]
    late = Freshness((HOUR,), (), (), landed={HOUR: files})
    assert run_requests(instance, late, now + timedelta(minutes=4))[0] == []
    assert len(run_requests(instance, late, now + timedelta(minutes=6))[0]) == 1
