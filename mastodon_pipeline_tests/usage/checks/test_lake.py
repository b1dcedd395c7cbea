"""Checks of the lake as it is find tables that are behind, and files that no hour counts."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.checks.lake import (
    DAILY_PATIENCE,
    HOURLY_PATIENCE,
    days_are_current,
    hours_are_current,
    outside_hours,
)
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    land,
    record,
    rows,
)
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake

pytestmark = pytest.mark.thorough

NOW = HOUR + timedelta(minutes=30)
FIRST_DAY = date(2026, 1, 1)
NAMES = [table.name for table in DAILY_TABLES]


def set_written(path: str, at: datetime) -> None:
    """Set the time at which a file was written, by the store's clock."""
    os.utime(path, (at.timestamp(), at.timestamp()))


def land_at(lake: Lake, at: datetime, name: str) -> None:
    """Land a toot of the hour in a file written at this moment."""
    land(lake, record(uri=name, status_id=name), name=name)
    set_written(f"{lake.layout.landed_hour(HOUR)}{name}.parquet", at)


@pytest.fixture(scope="module")
def up_to_date(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("current"), build)


@pytest.fixture
def current(up_to_date: PreparedLake) -> Iterator[Lake]:
    """An hour whose tables were built five minutes after its file, and its day's tables."""
    with up_to_date.copy() as lake:
        yield lake


def build(lake: Lake) -> None:
    """Land the hour's file, and build the tables."""
    land_at(lake, HOUR + timedelta(minutes=5), "a")
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    for table in DAILY_TABLES:
        set_written(table.path(lake.layout, DAY), HOUR + timedelta(minutes=10))
    for path in (lake.layout.toots(HOUR), lake.layout.toots_per_server(HOUR)):
        set_written(path, HOUR + timedelta(minutes=10))


def test_tables_made_from_all_that_landed_are_current(current: Lake) -> None:
    """However long ago; both checks compare something."""
    for now in (NOW, NOW + timedelta(hours=6)):
        assert hours_are_current(current, now) == Finding(1, ())
        assert (
            days_are_current(current, NAMES, now).summary == f"0 faults in {len(NAMES)} partitions"
        )


def test_landed_file_newer_than_its_hours_table_is_a_fault(current: Lake) -> None:
    """Once the sensor has had ten minutes."""
    landed_at = HOUR + timedelta(minutes=12)
    land_at(current, landed_at, "b")
    soon = hours_are_current(current, landed_at + HOURLY_PATIENCE)
    assert (soon.passed, soon.compared, soon.skipped) == (True, 0, 1)
    late = hours_are_current(current, landed_at + HOURLY_PATIENCE + timedelta(seconds=1))
    assert late.faults == ("2026-11-24 15:00 is behind what landed at 2026-11-24 15:12:00 UTC",)


def test_file_that_landed_while_the_table_was_built_is_a_fault(current: Lake) -> None:
    """It is older than the table, and not in it. Shows G14."""
    land_at(current, HOUR + timedelta(minutes=9), "b")
    assert not hours_are_current(current, NOW).passed


def test_hour_without_its_table_is_a_fault_for_two_days(current: Lake) -> None:
    Path(current.layout.toots_per_server(HOUR)).unlink()
    assert not hours_are_current(current, NOW).passed
    assert not hours_are_current(current, NOW + timedelta(hours=46)).passed
    assert hours_are_current(current, NOW + timedelta(hours=48)).compared == 0


@pytest.mark.parametrize("table", NAMES)
def test_daily_table_behind_its_toots_is_a_fault(current: Lake, table: str) -> None:
    """Today's and yesterday's."""
    Path(current.layout.daily(table, DAY)).unlink()
    behind = HOUR + timedelta(minutes=10)
    assert days_are_current(current, NAMES, behind + DAILY_PATIENCE).passed
    finding = days_are_current(current, NAMES, behind + timedelta(days=1))
    assert finding.faults == (
        f"{table} of 2026-11-24 is behind its toots of 2026-11-24 15:10:00 UTC",
    )


def test_records_outside_the_hours_are_counted(lake: Lake) -> None:
    """Old ones may be there; those of future hours, or of the year 1, are a warning."""
    future = record(uri="b", created_at=datetime(9998, 12, 31, tzinfo=UTC))
    land(lake, record(), record(uri="c", created_at=HOUR + timedelta(hours=1)))
    land(lake, *(record(uri=f"{n}", created_at=datetime(1970, 1, 1, tzinfo=UTC)) for n in "xyz"))
    files = outside_hours(lake, NOW, FIRST_DAY)
    assert (files.before, files.first_day, files.passed) == (3, date(2026, 10, 1), True)
    land(lake, future, future)
    files = outside_hours(lake, NOW, FIRST_DAY)
    assert (files.future, files.passed) == (2, False)
    Path(lake.layout.landed(), "created_at_hour=9998-12-31-00", "a.parquet").unlink()
    land(lake, record(uri="d", created_at=datetime(1, 1, 1, tzinfo=UTC)))
    files = outside_hours(lake, NOW, FIRST_DAY)
    assert (files.future, files.implausible, files.passed) == (0, 1, False)


@pytest.mark.parametrize("content", [b"", b"7 bytes", b"PAR1" + b"\0" * 99 + b"PAR1"])
def test_file_that_cannot_be_read_is_named_and_the_rest_is_judged(
    lake: Lake, content: bytes
) -> None:
    """It is opened once, and once more by each check, until somebody removes it."""
    land(lake, record(), record(uri="x", created_at=datetime(1970, 1, 1, tzinfo=UTC)))
    broken = Path(lake.layout.landed_hour(HOUR), "broken.parquet")
    broken.write_bytes(content)
    files = outside_hours(lake, NOW, FIRST_DAY)
    assert [file.path for file in files.unreadable] == [str(broken)]
    assert (files.before, files.passed) == (1, False)
    assert str(broken) in files.summary
    build_hours(lake, HOUR)
    assert len(rows(lake, lake.layout.toots(HOUR))) == 1
    assert hours_are_current(lake, NOW) == Finding(1, ())
    broken.unlink()
    assert outside_hours(lake, NOW, FIRST_DAY).passed


def test_checks_of_the_lake_run_in_a_separate_job(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Shown at their tables, and not in the refreshes, which run every few seconds."""
    land(lake, record(created_at=datetime(9998, 12, 31, tzinfo=UTC)))
    outcome = definitions.resolve_job_def("usage_checks").execute_in_process(
        instance=instance, resources={"lake": LocalLakeResource(root=lake.layout.root)}
    )
    checks = {check.check_name: check for check in outcome.get_asset_check_evaluations()}
    assert {name: check.passed for name, check in checks.items()} == {
        "tables_are_current": True,
        "daily_tables_are_current": True,
        "every_toot_has_an_hour": False,
    }
    outside = checks["every_toot_has_an_hour"]
    assert outside.severity == dg.AssetCheckSeverity.WARN
    assert outside.metadata["records in future hours"].value == 1
    for job in ("refresh_hourly_usage", "refresh_daily_usage"):
        steps = {node.name for node in definitions.resolve_job_def(job).graph.nodes}
        assert steps.isdisjoint(checks)
