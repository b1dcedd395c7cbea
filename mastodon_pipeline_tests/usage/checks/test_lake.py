"""What is behind, and what no hour can count, is found as it lies, whoever built the tables."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.lake import (
    DAILY_PATIENCE,
    PATIENCE,
    days_are_current,
    hours_are_current,
    outside_hours,
)
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    land,
    record,
)

NOW = HOUR + timedelta(minutes=30)
FIRST_DAY = date(2026, 1, 1)


def written(path: str, at: datetime) -> None:
    """Makes a file as old as if it was written then, by the store's clock."""
    os.utime(path, (at.timestamp(), at.timestamp()))


def land_at(lake: Lake, at: datetime, name: str) -> None:
    """A toot of the hour lands in a file written at this moment."""
    land(lake, record(uri=name, status_id=name), name=name)
    written(f"{lake.layout.landed_hour(HOUR)}{name}.parquet", at)


@pytest.fixture
def built(lake: Lake) -> Lake:
    """An hour whose tables were built five minutes after its file, and its day's tables."""
    land_at(lake, HOUR + timedelta(minutes=5), "a")
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)
    for table in DAILY_TABLES:
        build_daily(lake, DAY, table)
        written(lake.layout.daily(table, DAY), HOUR + timedelta(minutes=10))
    for path in (lake.layout.toots(HOUR), lake.layout.toots_per_server(HOUR)):
        written(path, HOUR + timedelta(minutes=10))
    return lake


def test_what_was_built_from_all_that_landed_is_current(built: Lake) -> None:
    """However long ago; and both checks did compare something."""
    for now in (NOW, NOW + timedelta(hours=6)):
        assert hours_are_current(built, now).summary == "0 faults in 1 partitions"
        assert days_are_current(built, now).summary == f"0 faults in {len(DAILY_TABLES)} partitions"


def test_a_landed_file_newer_than_its_hours_table_is_found(built: Lake) -> None:
    """Once the sensor has had ten minutes; older files are no excuse."""
    landed_at = HOUR + timedelta(minutes=12)
    land_at(built, landed_at, "b")
    soon = hours_are_current(built, landed_at + PATIENCE)
    assert (soon.passed, soon.compared, soon.unsettled) == (True, 0, 1)
    late = hours_are_current(built, landed_at + PATIENCE + timedelta(seconds=1))
    assert late.faults == ("2026-11-24 15:00 is behind what landed at 2026-11-24 15:12:00 UTC",)


def test_a_file_that_landed_while_the_table_was_built_is_found(built: Lake) -> None:
    """It is older than the table, and not in it."""
    land_at(built, HOUR + timedelta(minutes=9), "b")
    assert not hours_are_current(built, NOW).passed


def test_an_hour_without_its_table_is_found(built: Lake) -> None:
    """Late toots of yesterday too."""
    Path(built.layout.toots_per_server(HOUR)).unlink()
    assert not hours_are_current(built, NOW).passed
    assert not hours_are_current(built, NOW + timedelta(hours=46)).passed
    assert hours_are_current(built, NOW + timedelta(hours=48)).compared == 0


@pytest.mark.parametrize("table", DAILY_TABLES)
def test_a_daily_table_behind_its_toots_is_found(built: Lake, table: str) -> None:
    """Any of them; today's and yesterday's."""
    Path(built.layout.daily(table, DAY)).unlink()
    behind = HOUR + timedelta(minutes=10)
    assert days_are_current(built, behind + DAILY_PATIENCE).passed
    found = days_are_current(built, behind + timedelta(days=1))
    assert found.faults == (
        f"{table} of 2026-11-24 is behind its toots of 2026-11-24 15:10:00 UTC",
    )


def test_wild_clocks_are_accounted_for(lake: Lake) -> None:
    """Old ones as configured; what is to come, or has no hour, is a warning."""
    ahead = record(uri="b", created_at=datetime(9999, 12, 31, tzinfo=UTC))
    land(lake, record(), record(uri="c", created_at=HOUR + timedelta(hours=1)))
    land(lake, *(record(uri=f"{n}", created_at=datetime(1970, 1, 1, tzinfo=UTC)) for n in "xyz"))
    found = outside_hours(lake, NOW, FIRST_DAY)
    assert (found.before, found.before_records, found.passed) == (1, 3, True)
    land(lake, ahead, ahead)
    found = outside_hours(lake, NOW, FIRST_DAY)
    assert (found.ahead, found.ahead_records, found.passed) == (1, 2, False)
    nowhere = Path(lake.layout.landed(), "created_at_hour=null", "a.parquet")
    nowhere.parent.mkdir()
    nowhere.write_bytes(b"")
    found = outside_hours(lake, NOW, FIRST_DAY)
    assert (found.before, found.ahead, found.nowhere) == (1, 1, 1)
    assert found.summary == (
        "1 files of hours to come, 1 in no hour's folder; 1 from before FIRST_DAY are not counted,"
        " as configured"
    )


def test_the_checks_are_a_run_of_their_own(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Shown at their tables, and no part of the refresh, which runs every few seconds."""
    land(lake, record(created_at=datetime(9999, 12, 31, tzinfo=UTC)))
    outcome = definitions.resolve_job_def("usage_checks").execute_in_process(
        instance=instance, resources={"lake": LocalLakeResource(root=lake.layout.root)}
    )
    found = {one.check_name: one for one in outcome.get_asset_check_evaluations()}
    assert {name: one.passed for name, one in found.items()} == {
        "tables_are_current": True,
        "daily_tables_are_current": True,
        "every_toot_has_an_hour": False,
    }
    wild = found["every_toot_has_an_hour"]
    assert wild.severity == dg.AssetCheckSeverity.WARN
    assert wild.metadata["records of hours to come"].value == 1
    for job in ("refresh_hourly_usage", "refresh_daily_usage"):
        steps = {node.name for node in definitions.resolve_job_def(job).graph.nodes}
        assert steps.isdisjoint(found)
