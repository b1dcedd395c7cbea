"""The day that the tables begin with: it follows the lake, and is never later than it was.

The rule: the tables begin with the month of the oldest toot whose post time somebody vouches for.
For a toot that was read within a month of being posted, that is the listener that read it; for one
that was replayed, or read from a server's past on request, the person who asked for it. Any toot
from then on counts, whatever the month holds.

A post time is what a server claims, and a stranger's server may claim any. What a feed delivers is
new, and old only if it waited during an outage, so a claim of years ago vouches for nothing: it
lands, and counts only if the tables reach that far back anyway. Otherwise one toot would let every
page of Dagster list ten years of hours. Before `FIRST_DAY`, by default the day of Mastodon's first
release, nothing counts, not even a replay: a broken file may well hold the year 1970.

What remembers the day: the tables themselves, which are never removed; and for Dagster, which asks
far more often than a bucket should be listed, `usage.partitions`.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import IndexedHour

DAY, HOUR, MONTH = timedelta(days=1), timedelta(hours=1), timedelta(days=31)
EVER = datetime.min.replace(tzinfo=UTC)


def first_day_of(lake: Lake, earliest: date, now: datetime) -> date:
    """Return the first day (UTC) of the tables that are built, not before `earliest`.

    With nothing built, it is that of a lake whose first toots were posted a month before `now`
    (UTC): older ones are seldom read without a person who asks for them. One listing.
    """
    prefix = f"{lake.layout.table('toots')}day="
    oldest = next(
        (
            date.fromisoformat(file.path.removeprefix(prefix)[:10])
            for file in lake.list_files(prefix)
            if file.path.endswith(".parquet")
        ),
        now.date() - MONTH,
    )
    return begin_with(oldest, earliest, now)


def first_day_due(lake: Lake, earliest: date, now: datetime) -> date:
    """Return the first day (UTC) once all is built that has landed, as of a whole refresh."""
    built = first_day_of(lake, earliest, now)
    oldest = oldest_vouched(lake.landed.hours_indexed_since(EVER), earliest, now)
    return built if oldest is None else min(built, begin_with(oldest, earliest, now))


def oldest_vouched(
    indexed: Mapping[datetime | None, IndexedHour], earliest: date, now: datetime
) -> date | None:
    """Return the oldest day, from `earliest` on, of a record whose time somebody vouches for."""
    days = (
        hour.date()
        for hour, content in indexed.items()
        if hour is not None and content.vouched and hour <= now + HOUR
    )
    return min((day for day in days if day >= earliest), default=None)


def begin_with(oldest: date, earliest: date, now: datetime) -> date:
    """Return the first day of tables with a toot of the day `oldest`.

    The first of a month, so that it seldom changes while a past is read; and not after yesterday,
    whose toots are still arriving.
    """
    return max(earliest, min(oldest, now.date() - DAY).replace(day=1))
