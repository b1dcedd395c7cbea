"""What is stale is told from the lake alone, and nothing stale is ever forgotten."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.refreshing.freshness import HOUR as ONE_HOUR
from mastodon_pipeline.usage.refreshing.freshness import Cursor, contiguous, look
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

NOW = HOUR + timedelta(minutes=30)
SOON = NOW + timedelta(minutes=1)
FIRST_DAY = date(2026, 1, 1)
LATE = HOUR - timedelta(hours=30)


def refresh(lake: Lake, *hours: datetime) -> None:
    """Builds the hourly tables, as a run does."""
    for hour in hours:
        build_toots(lake, hour)
        build_toots_per_server(lake, hour)


def age(lake: Lake, hour: datetime, by: timedelta) -> None:
    """Makes the hour's landed files so much older than NOW, by the store's clock."""
    then = (NOW - by).timestamp()
    for file in lake.parquet_files(lake.layout.landed_hour(hour)):
        os.utime(file.path, (then, then))


def build_day(lake: Lake, day: date) -> None:
    """All the daily tables."""
    for table in DAILY_TABLES:
        build_daily(lake, day, table)


def test_an_hour_that_was_never_built_is_stale(lake: Lake) -> None:
    """At the first look at a lake, everything that landed is; the day waits for its toots."""
    land(lake, record(), record(uri="b", created_at=LATE))
    found = look(lake, Cursor(), NOW, FIRST_DAY)
    assert (found.stale_hours, found.stale_days) == ((LATE, HOUR), ())


def test_a_built_hour_is_fresh_and_its_day_is_due(lake: Lake) -> None:
    """The day follows its hours."""
    land(lake, record())
    refresh(lake, HOUR)
    found = look(lake, Cursor(), NOW, FIRST_DAY)
    assert (found.stale_hours, found.stale_days) == ((), (DAY,))
    build_day(lake, DAY)
    found = look(lake, found.cursor, NOW, FIRST_DAY)
    assert (found.stale_hours, found.stale_days) == ((), ())


@pytest.mark.parametrize("table", DAILY_TABLES)
def test_a_day_is_due_until_its_last_table_is_built(lake: Lake, table: str) -> None:
    """One that failed alone, or that came with a newer version of the pipeline."""
    land(lake, record())
    refresh(lake, HOUR)
    build_day(lake, DAY)
    Path(lake.layout.daily(table, DAY)).unlink()
    assert look(lake, Cursor(), NOW, FIRST_DAY).stale_days == (DAY,)


def test_a_new_file_makes_its_hour_stale_and_no_other(lake: Lake) -> None:
    """Also the late one, in an hour of the day before."""
    land(lake, record(), record(uri="b", created_at=LATE))
    refresh(lake, HOUR, LATE)
    cursor = look(lake, Cursor(), NOW, FIRST_DAY).cursor
    land(lake, record(uri="c", created_at=LATE), name="late")
    assert look(lake, cursor, SOON, FIRST_DAY).stale_hours == (LATE,)


def test_an_hour_stays_stale_until_it_is_built(lake: Lake) -> None:
    """A run that was asked for and failed leaves it as it was, however many looks pass."""
    land(lake, record(), record(uri="b", created_at=LATE))
    age(lake, LATE, timedelta(days=1))
    refresh(lake, HOUR)
    build_day(lake, DAY)
    cursor = Cursor()
    for minutes in range(3):
        found = look(lake, cursor, NOW + timedelta(minutes=minutes), FIRST_DAY)
        assert found.stale_hours == (LATE,)
        cursor = found.cursor


def test_half_a_refresh_is_none(lake: Lake) -> None:
    """`toots` built anew, and the run killed before the counts: the counts say so."""
    land(lake, record())
    refresh(lake, HOUR)
    land(lake, record(uri="b", status_id="2"), name="b")
    build_toots(lake, HOUR)
    assert look(lake, Cursor(), NOW, FIRST_DAY).stale_hours == (HOUR,)


def test_fresh_hours_behind_the_horizon_are_not_opened_again(lake: Lake) -> None:
    """A look costs what changed lately: their tables may even be gone."""
    land(lake, record(), record(uri="b", created_at=LATE))
    age(lake, LATE, timedelta(days=1))
    age(lake, HOUR, timedelta(0))
    refresh(lake, HOUR, LATE)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = look(lake, Cursor(), NOW, FIRST_DAY).cursor
    assert cursor.horizon > NOW - timedelta(hours=1)
    Path(lake.layout.toots_per_server(LATE)).unlink()
    found = look(lake, cursor, SOON, FIRST_DAY)
    assert found.stale_hours == ()


def test_a_removed_file_makes_its_hour_stale_behind_the_horizon(lake: Lake) -> None:
    """No newer file says so: maintenance leaves word that it removed one."""
    land(lake, record(), record(uri="b", created_at=LATE))
    land(lake, record(uri="b", created_at=LATE), name="again")
    age(lake, LATE, timedelta(days=1))
    age(lake, HOUR, timedelta(0))
    refresh(lake, HOUR, LATE)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = look(lake, Cursor(), NOW, FIRST_DAY).cursor
    Path(f"{lake.layout.landed_hour(LATE)}again.parquet").unlink()
    assert look(lake, cursor, SOON, FIRST_DAY).stale_hours == ()
    Path(lake.layout.removal_marker()).parent.mkdir(parents=True)
    Path(lake.layout.removal_marker()).touch()
    found = look(lake, cursor, SOON, FIRST_DAY)
    assert found.stale_hours == (LATE,)
    refresh(lake, LATE)
    assert look(lake, found.cursor, SOON, FIRST_DAY).stale_days == (LATE.date(),)


def test_the_horizon_waits_for_a_stale_day(lake: Lake) -> None:
    """Its hours are long fresh; the day is still to be built."""
    land(lake, record(), record(uri="b", created_at=LATE))
    age(lake, LATE, timedelta(days=1))
    refresh(lake, HOUR, LATE)
    build_day(lake, DAY)
    cursor = look(lake, Cursor(), NOW, FIRST_DAY).cursor
    assert look(lake, cursor, SOON, FIRST_DAY).stale_days == (LATE.date(),)


def test_a_long_history_is_looked_through_piece_by_piece(lake: Lake) -> None:
    """Without patience an hour a look, beside the running one, which every look sees; then anew."""
    late = [HOUR - timedelta(hours=ago) for ago in (50, 40, 30)]
    land(lake, record(), *(record(uri=f"{hour}", created_at=hour) for hour in late))
    cursor, seen = Cursor(), []
    for _ in range(6):
        found = look(lake, cursor, NOW, FIRST_DAY, patience=0)
        seen.append(found.stale_hours)
        cursor = found.cursor
    assert seen == [
        (late[0], HOUR),
        (late[1], HOUR),
        (late[2], HOUR),
        (HOUR,),  # the sweep has come to the running hour itself
        (HOUR,),  # and to the end
        (late[0], HOUR),
    ]


def test_the_horizon_waits_for_what_any_piece_found_stale(lake: Lake) -> None:
    """The sweep ends some looks later, and has not forgotten it."""
    land(lake, record(), *(record(uri=f"{n}", created_at=LATE - n * ONE_HOUR) for n in range(3)))
    stale = LATE - ONE_HOUR
    age(lake, stale, timedelta(days=1))
    refresh(lake, HOUR, LATE, LATE - 2 * ONE_HOUR)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = Cursor()
    for _ in range(3):
        found = [look(lake, cursor, NOW, FIRST_DAY, patience=0)]
        while found[-1].cursor.after:
            found.append(look(lake, found[-1].cursor, NOW, FIRST_DAY, patience=0))
        assert {hour for one in found for hour in one.stale_hours} == {stale}
        cursor = found[-1].cursor
    assert cursor.horizon == NOW - timedelta(days=1, minutes=10)


def test_a_lake_at_rest_is_not_opened_again_and_again(lake: Lake) -> None:
    """Nothing has landed for days: the second sweep knows what the first has seen."""
    land(lake, record(created_at=LATE))
    age(lake, LATE, timedelta(days=1))
    refresh(lake, LATE)
    build_day(lake, LATE.date())
    cursor = Cursor()
    for _ in range(3):
        cursor = look(lake, cursor, NOW, FIRST_DAY).cursor
    assert cursor.horizon == NOW - timedelta(days=1, minutes=10)


def test_toots_of_the_next_hour_wait_for_it_and_are_not_forgotten(lake: Lake) -> None:
    """Clocks may be minutes ahead; the hour has no partition before it begins."""
    coming = HOUR + timedelta(hours=1)
    land(lake, record(created_at=coming))
    age(lake, coming, timedelta(minutes=25))
    land(lake, record())
    age(lake, HOUR, timedelta(0))
    refresh(lake, HOUR)
    build_day(lake, DAY)
    found = look(lake, Cursor(), NOW, FIRST_DAY)
    assert (found.stale_hours, found.ignored) == ((), ())
    assert look(lake, found.cursor, coming, FIRST_DAY).stale_hours == (coming,)


def test_hours_without_a_partition_are_ignored_and_said_so(lake: Lake) -> None:
    """Wild clocks do not create hours, nor do folders that name none."""
    wild = NOW.replace(year=2031)
    old = datetime(2019, 5, 1, 3, tzinfo=UTC)
    land(lake, record(), record(uri="b", created_at=wild), record(uri="c", created_at=old))
    nowhere = Path(lake.layout.landed(), "created_at_hour=null", "a.parquet")
    nowhere.parent.mkdir()
    nowhere.write_bytes(b"")
    found = look(lake, Cursor(), NOW, FIRST_DAY)
    assert found.stale_hours == (HOUR,)
    assert found.ignored == (
        "1 files from before FIRST_DAY 2026-01-01",
        "1 files from hours to come (wild clocks)",
        "1 files in no hour's folder",
    )


def test_the_cursor_survives_being_written_down() -> None:
    """Compact, whatever the history; one that nobody understands means looking at everything."""
    path = f"s3://mastodon/topics/mastodon-topic/created_at_hour=2026-11-24-15/{'0' * 60}.parquet"
    cursor = Cursor(horizon=NOW, after=path, newest=HOUR, seen=NOW, unsettled=LATE)
    assert Cursor.parse(str(cursor)) == cursor
    assert len(str(cursor)) < 400
    assert Cursor.parse("of an older version") == Cursor.parse(None) == Cursor()


def test_contiguous_hours_are_one_range() -> None:
    """And hours between ranges are not in any."""
    after = [HOUR + n * ONE_HOUR for n in (0, 1, 2, 5, 7, 8)]
    assert contiguous(after, ONE_HOUR) == [
        (after[0], after[2]),
        (after[3], after[3]),
        (after[4], after[5]),
    ]
    assert contiguous([], ONE_HOUR) == []
