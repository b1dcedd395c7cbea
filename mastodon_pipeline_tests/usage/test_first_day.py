"""The tables begin with the oldest toot that somebody vouches for, not with claims of servers."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage import partitions
from mastodon_pipeline.usage.first_day import first_day_due, first_day_of
from mastodon_pipeline.usage.refreshing.freshness import Cursor, Freshness, scan
from mastodon_pipeline.usage.remembered_day import FirstDay, load_first_day, save_first_day
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record

NOW = HOUR + timedelta(minutes=30)
THIS_MONTH, LAST_MONTH = date(2026, 11, 1), date(2026, 10, 1)
OLD = datetime(2019, 2, 3, 4, tzinfo=UTC)
EARLIEST = load_settings().first_day


@pytest.fixture(autouse=True)
def at_now(lake: Lake) -> None:
    """What is new to the index is so at NOW."""
    lake.landed.clock = lambda: NOW


def scanned(lake: Lake, cursor: Cursor | None = None, first_day: date = THIS_MONTH) -> Freshness:
    """Scan a lake whose tables begin with this month."""
    return scan(lake, cursor or Cursor(), NOW, first_day, earliest=EARLIEST)


def test_replayed_toot_moves_the_first_day_back(lake: Lake) -> None:
    """To the first of its month; the toot is counted, without a setting."""
    land(lake, record(), record(uri="b", created_at=OLD, source="replay"))
    freshness = scanned(lake)
    assert (freshness.first_day, freshness.stale_hours) == (date(2019, 2, 1), (OLD, HOUR))
    assert freshness.ignored == ()


@pytest.mark.parametrize("source", ["stream", "poll", "gap"])
@pytest.mark.parametrize("year", [1990, 2016, 2019, 2025])
def test_years_that_a_server_claims_create_nothing(lake: Lake, source: str, year: int) -> None:
    """A feed delivers what is new: a toot of another year was not read when it was posted."""
    claimed = record(uri="b", created_at=OLD.replace(year=year), source=source)
    land(lake, record(), claimed)
    freshness = scanned(lake)
    assert (freshness.first_day, freshness.stale_hours) == (THIS_MONTH, (HOUR,))
    assert freshness.ignored == ("1 records from before 2026-11-01, the tables' first day",)


def test_toot_of_an_outage_moves_the_first_day_back(lake: Lake) -> None:
    """It waited on its server for three weeks."""
    waited = HOUR - timedelta(days=25)
    land(lake, record(uri="b", created_at=waited, source="gap"))
    freshness = scanned(lake)
    assert (freshness.first_day, freshness.stale_hours) == (date(2026, 10, 1), (waited,))


@pytest.mark.parametrize("year", [1970, 1990, 2015])
def test_nothing_is_older_than_mastodon(lake: Lake, year: int) -> None:
    """Not even in a file that a person replays."""
    land(lake, record(uri="b", created_at=OLD.replace(year=year), source="replay"))
    assert scanned(lake).first_day == THIS_MONTH


def test_toots_that_were_too_old_count_once_the_tables_reach_back(lake: Lake) -> None:
    """They landed long before the replay, and are behind the scans' horizon."""
    claimed = OLD + timedelta(days=300)
    land(lake, record(uri="b", created_at=claimed))
    cursor = Cursor()
    for _ in range(2):
        cursor = scanned(lake, cursor).cursor
    land(lake, record(uri="c", created_at=OLD, source="replay"))
    assert scanned(lake, cursor).stale_hours == (OLD, claimed)


@pytest.mark.parametrize("days_ago", [0, 10, 31])
def test_first_toots_of_a_new_lake_do_not_move_its_first_day(lake: Lake, days_ago: int) -> None:
    """Partitions that Dagster does not know yet would wait for a minute and a half."""
    first_day = first_day_of(lake, EARLIEST, NOW)
    land(lake, record(uri="b", created_at=HOUR - timedelta(days=days_ago)))
    assert scanned(lake, first_day=first_day).first_day == first_day


def test_built_tables_remember_the_first_day(lake: Lake) -> None:
    """Nothing else has to: not the landed files, which go after a month, nor Dagster's home."""
    assert first_day_of(lake, EARLIEST, NOW) == LAST_MONTH
    land(lake, record(uri="b", created_at=OLD, source="replay"))
    lake.landed.refresh(whole=True)
    assert first_day_of(lake, EARLIEST, NOW) == LAST_MONTH
    assert first_day_due(lake, EARLIEST, NOW) == date(2019, 2, 1)
    build_hours(lake, OLD)
    assert first_day_of(lake, EARLIEST, NOW) == date(2019, 2, 1)
    assert first_day_of(lake, date(2020, 5, 6), NOW) == date(2020, 5, 6), "FIRST_DAY hides older"


@pytest.mark.thorough
def test_partitions_follow_the_remembered_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a new import: Dagster asks a running code server again."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setattr(partitions, "READ_AGAIN_SECONDS", 0.0)
    remembered = partitions._RememberedDay(EARLIEST)
    monkeypatch.setattr(partitions, "_first_day", remembered)
    assert partitions.hours.get_first_partition_key() == "2016-03-16-00:00", "nothing remembered"
    with dg.DagsterInstance.get() as instance:
        for day in (THIS_MONTH, date(2019, 2, 1)):
            save_first_day(instance, FirstDay(day, NOW))
            assert partitions.hours.get_first_partition_key() == f"{day}-00:00"
            assert partitions.days.get_first_partition_key() == str(day)
            assert partitions.hours.has_partition_key("2026-11-24-15:00")
            assert len(partitions.days.get_partition_keys()) < 4000
        assert load_first_day(instance) == FirstDay(date(2019, 2, 1), NOW)


@pytest.mark.thorough
def test_a_run_of_another_process_knows_the_remembered_day(tmp_path: Path) -> None:
    """A run imports the code when it starts."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        save_first_day(instance, FirstDay(date(2023, 2, 1), NOW))
    printed = subprocess.run(
        [
            *(sys.executable, "-c"),
            "from mastodon_pipeline.usage.partitions import days;"
            " print(days.get_first_partition_key())",
        ],
        env={**os.environ, "DAGSTER_HOME": str(tmp_path)},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stdout.strip() == "2023-02-01"
