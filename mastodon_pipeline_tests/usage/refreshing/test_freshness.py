"""What is stale is derived from the lake alone, and nothing stale is ever forgotten."""

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake import landed
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.refreshing.freshness import HOUR as ONE_HOUR
from mastodon_pipeline.usage.refreshing.freshness import NEVER, Cursor, contiguous, scan
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

pytestmark = pytest.mark.thorough

NOW = HOUR + timedelta(minutes=30)
SOON = NOW + timedelta(minutes=1)
FIRST_DAY = date(2026, 1, 1)
LATE = HOUR - timedelta(hours=30)


@pytest.fixture(autouse=True)
def at_now(lake: Lake) -> None:
    """What is new to the index is so at NOW."""
    lake.landed.clock = lambda: NOW


def index(lake: Lake, ago: timedelta) -> None:
    """Open what has landed, some time before NOW."""
    lake.landed.clock = lambda: NOW - ago
    lake.landed.refresh()
    lake.landed.clock = lambda: NOW


def test_hour_that_was_never_built_is_stale(lake: Lake) -> None:
    """The day is not, until its toots are built."""
    land(lake, record(), record(uri="b", created_at=LATE))
    freshness = scan(lake, Cursor(), NOW, FIRST_DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((LATE, HOUR), ())


def test_built_hour_is_fresh_and_its_day_is_stale(lake: Lake) -> None:
    """Until the daily tables are built."""
    land(lake, record())
    build_hours(lake, HOUR)
    freshness = scan(lake, Cursor(), NOW, FIRST_DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((), (DAY,))
    build_day(lake, DAY)
    freshness = scan(lake, freshness.cursor, NOW, FIRST_DAY)
    assert (freshness.stale_hours, freshness.stale_days) == ((), ())


def test_day_is_stale_until_each_of_its_tables_is_built(lake: Lake) -> None:
    """One may have failed, or have come with a newer version of the pipeline."""
    land(lake, record())
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    for table in DAILY_TABLES:
        path = Path(table.path(lake.layout, DAY))
        aside = path.rename(path.with_suffix(".aside"))
        assert scan(lake, Cursor(), NOW, FIRST_DAY).stale_days == (DAY,), table.name
        aside.rename(path)
        assert scan(lake, Cursor(), NOW, FIRST_DAY).stale_days == (), table.name


def test_new_file_makes_only_its_hour_stale(lake: Lake) -> None:
    """Also a late one, in an hour of the day before. Shows G14."""
    land(lake, record(), record(uri="b", created_at=LATE))
    build_hours(lake, HOUR, LATE)
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    land(lake, record(uri="c", created_at=LATE), name="late")
    assert scan(lake, cursor, SOON, FIRST_DAY).stale_hours == (LATE,)


def test_hour_stays_stale_until_it_is_built(lake: Lake) -> None:
    """A run that was requested and failed changes nothing, after any number of scans. Shows G14."""
    land(lake, record(uri="b", created_at=LATE))
    index(lake, timedelta(days=1))
    land(lake, record())
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    cursor = Cursor()
    for minutes in range(3):
        freshness = scan(lake, cursor, NOW + timedelta(minutes=minutes), FIRST_DAY)
        assert freshness.stale_hours == (LATE,)
        cursor = freshness.cursor


def test_hour_is_stale_if_the_run_was_killed_before_the_counts(lake: Lake) -> None:
    """`toots` are built again, and the counts are not."""
    land(lake, record())
    build_hours(lake, HOUR)
    land(lake, record(uri="b", status_id="2"), name="b")
    build_toots(lake, HOUR)
    assert scan(lake, Cursor(), NOW, FIRST_DAY).stale_hours == (HOUR,)


def test_fresh_hours_behind_the_horizon_are_not_opened_again(lake: Lake) -> None:
    """A scan costs what changed recently: older tables may even be gone."""
    land(lake, record(uri="b", created_at=LATE))
    index(lake, timedelta(days=1))
    land(lake, record())
    build_hours(lake, HOUR, LATE)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    assert cursor.horizon > NOW - timedelta(hours=1)
    Path(lake.layout.toots_per_server(LATE)).unlink()
    freshness = scan(lake, cursor, SOON, FIRST_DAY)
    assert freshness.stale_hours == ()


def test_late_file_that_another_process_opened_is_not_missed(lake: Lake) -> None:
    """However long ago it was written: a check may list all of a large lake before the sensor."""
    land(lake, record(created_at=LATE))
    index(lake, timedelta(days=1))
    build_hours(lake, LATE)
    build_day(lake, LATE.date())
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    land(lake, record(uri="b", created_at=LATE), name="late")
    then = (NOW - timedelta(days=3)).timestamp()
    os.utime(f"{lake.layout.landed_hour(LATE)}late.parquet", (then, then))
    lake.landed.refresh(whole=True)
    assert scan(lake, cursor, SOON, FIRST_DAY).stale_hours == (LATE,)


def test_file_stamped_a_year_ahead_does_not_hide_what_lands_meanwhile(lake: Lake) -> None:
    """Neither does a cursor that a former version left with a horizon in the future."""
    land(lake, record(created_at=LATE))
    build_hours(lake, LATE)
    build_day(lake, LATE.date())
    ahead = (NOW + timedelta(days=365)).timestamp()
    os.utime(f"{lake.layout.landed_hour(LATE)}a.parquet", (ahead, ahead))
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    cursor = scan(lake, cursor, NOW, FIRST_DAY).cursor
    assert cursor.horizon <= NOW
    land(lake, record(uri="b"))
    for known in (cursor, Cursor(horizon=NOW + timedelta(days=365))):
        assert HOUR in scan(lake, known, NOW, FIRST_DAY).stale_hours


def test_removed_file_makes_its_hour_stale_behind_the_horizon(lake: Lake) -> None:
    """The scan sees it missing; if another process saw it first, by maintenance's marker."""
    land(lake, record(uri="b", created_at=LATE))
    land(lake, record(uri="b", created_at=LATE), name="again")
    index(lake, timedelta(days=1))
    land(lake, record())
    build_hours(lake, HOUR, LATE)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    again = Path(f"{lake.layout.landed_hour(LATE)}again.parquet")
    content = again.read_bytes()
    again.unlink()
    assert scan(lake, cursor, SOON, FIRST_DAY).stale_hours == (LATE,)
    again.write_bytes(content)
    index(lake, timedelta(days=1))
    again.unlink()
    lake.landed.refresh()
    assert scan(lake, cursor, SOON, FIRST_DAY).stale_hours == ()
    Path(lake.layout.removal_marker()).parent.mkdir(parents=True)
    Path(lake.layout.removal_marker()).touch()
    freshness = scan(lake, cursor, SOON, FIRST_DAY)
    assert freshness.stale_hours == (LATE,)
    build_hours(lake, LATE)
    assert scan(lake, freshness.cursor, SOON, FIRST_DAY).stale_days == (LATE.date(),)


def test_horizon_waits_for_a_stale_day(lake: Lake) -> None:
    """Its hours are fresh; the day is still to be built."""
    land(lake, record(uri="b", created_at=LATE))
    index(lake, timedelta(days=1))
    land(lake, record())
    build_hours(lake, HOUR, LATE)
    build_day(lake, DAY)
    cursor = scan(lake, Cursor(), NOW, FIRST_DAY).cursor
    assert scan(lake, cursor, SOON, FIRST_DAY).stale_days == (LATE.date(),)


def test_many_changed_hours_are_compared_in_rounds(lake: Lake) -> None:
    """Some a scan, beside the current one; after the end the round begins again."""
    late = [HOUR - timedelta(hours=ago) for ago in (50, 40, 30)]
    land(lake, record(), *(record(uri=f"{hour}", created_at=hour) for hour in late))
    cursor, seen = Cursor(), []
    for _ in range(5):
        freshness = scan(lake, cursor, NOW, FIRST_DAY, max_hours=1)
        seen.append(freshness.stale_hours)
        cursor = freshness.cursor
    assert seen == [
        (late[0], HOUR),
        (late[1], HOUR),
        (late[2], HOUR),
        (HOUR,),  # the round has reached the current hour itself, and the end
        (late[0], HOUR),
    ]


def test_large_lake_is_swept_piece_by_piece(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """At least a day of arrival a scan, beside the newest; after the end it begins again."""
    monkeypatch.setattr(landed, "SMALL_INDEX_BYTES", 0)
    days = [HOUR - timedelta(days=ago) for ago in (3, 2, 1)]
    land(lake, record())
    lake.landed.refresh()
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in days))
    cursor, seen, opened = Cursor(), [], []
    for _ in range(5):
        freshness = scan(lake, cursor, NOW, FIRST_DAY, listing_seconds=0)
        seen.append(freshness.stale_hours)
        cursor = freshness.cursor
        opened.append(cursor.after)
    assert seen == [(*days[:n], HOUR) for n in (1, 2, 3, 3, 3)]
    names = [f"created_at_hour={day:%Y-%m-%d}" for day in (*days, HOUR)]
    assert opened == [*names, ""]


def test_horizon_waits_for_what_was_stale_anywhere_in_the_round(lake: Lake) -> None:
    """The round ends some scans later, and has not forgotten it."""
    stale = LATE - ONE_HOUR
    land(lake, record(uri="1", created_at=stale))
    index(lake, timedelta(days=1))
    land(lake, record(), *(record(uri=f"{n}", created_at=LATE - n * ONE_HOUR) for n in (0, 2)))
    build_hours(lake, HOUR, LATE, LATE - 2 * ONE_HOUR)
    build_day(lake, DAY)
    build_day(lake, LATE.date())
    cursor = Cursor()
    for _ in range(3):
        rounds = [scan(lake, cursor, NOW, FIRST_DAY, max_hours=1)]
        while rounds[-1].cursor.hour > NEVER:
            rounds.append(scan(lake, rounds[-1].cursor, NOW, FIRST_DAY, max_hours=1))
        assert {hour for freshness in rounds for hour in freshness.stale_hours} == {stale}
        cursor = rounds[-1].cursor
    assert cursor.horizon == NOW - timedelta(days=1, minutes=10)


def test_toots_of_the_next_hour_wait_for_its_partition(lake: Lake) -> None:
    """Clocks may be minutes ahead; the hour has no partition before it begins."""
    coming = HOUR + timedelta(hours=1)
    land(lake, record(created_at=coming))
    index(lake, timedelta(minutes=25))
    land(lake, record())
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    freshness = scan(lake, Cursor(), NOW, FIRST_DAY)
    assert (freshness.stale_hours, freshness.ignored) == ((), ())
    assert scan(lake, freshness.cursor, coming, FIRST_DAY).stale_hours == (coming,)


def test_records_outside_all_partitions_are_ignored_with_a_reason(lake: Lake) -> None:
    """Wrong clocks do not create hours, nor do files that hold no records."""
    future = NOW.replace(year=2031)
    old = datetime(2019, 5, 1, 3, tzinfo=UTC)
    ancient = datetime(1, 1, 1, 14, tzinfo=UTC)
    land(lake, record(), record(uri="b", created_at=future), record(uri="c", created_at=old))
    land(lake, record(uri="d", created_at=ancient), record(uri="e", created_at=ancient))
    broken = Path(lake.layout.landed(), "created_at_hour=null", "a.parquet")
    broken.parent.mkdir()
    broken.write_bytes(b"7 bytes")
    freshness = scan(lake, Cursor(), NOW, FIRST_DAY)
    assert freshness.stale_hours == (HOUR,)
    assert freshness.ignored == (
        "1 records from before 2026-01-01, the tables' first day",
        "1 records of future hours (wrong clocks)",
        "2 records without a plausible post time",
    )


def test_cursor_is_serialized_and_parsed() -> None:
    """Compact with any history; one that cannot be parsed means a scan of everything."""
    after = "kafka_timestamp_day=2026-11-24"
    cursor = Cursor(horizon=NOW, after=after, hour=HOUR, began=NOW, unsettled=LATE)
    assert Cursor.parse(str(cursor)) == cursor
    assert len(str(cursor)) < 400
    assert Cursor.parse("of an older version") == Cursor.parse(None) == Cursor()


def test_contiguous_hours_are_one_range() -> None:
    """Hours between ranges are in none."""
    after = [HOUR + n * ONE_HOUR for n in (0, 1, 2, 5, 7, 8)]
    assert contiguous(after, ONE_HOUR) == [
        (after[0], after[2]),
        (after[3], after[3]),
        (after[4], after[5]),
    ]
    assert contiguous([], ONE_HOUR) == []
