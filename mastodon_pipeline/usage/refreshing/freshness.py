"""Which hours and days are behind what has landed.

There is no memory of what was requested: an hour is stale as long as its table's file does not
carry the fingerprint of the landed files that hold records of it (`lake.landed`). So a run that
fails, is killed or never starts leaves its hours stale, and they are requested again; files that
land while a run is reading leave theirs stale too.

Opening a table costs milliseconds, so a scan compares the hours of files that are new to the index,
and of these at most 300, beside the current hour and its neighbours: after a replay of a year
the next scans go on where it stopped, in rounds. Of a large lake a scan lists the newest files, and
goes on with a sweep through the others for half a second: it takes no longer with more history.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import msgspec

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import IndexedHour
from mastodon_pipeline.usage.first_day import begin_with, oldest_vouched
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES, TOOTS

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MARGIN = timedelta(minutes=10)
"""How much later than its stamp a file may appear in the index: another process opened it, saved
what it saw afterwards, or has a clock that is behind."""
LISTING_SECONDS = 0.5
"""How long a scan goes on listing; a twentieth of the time between two scans."""
MAX_COMPARED_HOURS = 300
"""Hours whose tables a scan opens, beside the current ones: a few milliseconds each; so many that
one run may build them all (`sensor.MAX_PARTITIONS_PER_RUN`)."""
NEVER = datetime.min.replace(tzinfo=UTC)


class Cursor(msgspec.Struct, frozen=True):
    """What a scan leaves for the next: how far its round through the changed hours is."""

    horizon: datetime = NEVER
    """Hours whose files all were in the index before this were current when the last round passed
    them."""
    after: str = ""
    """The last day of arrival that the sweep has listed; empty if a new sweep begins."""
    hour: datetime = NEVER
    """The last hour that this round has compared; `NEVER` if a new one begins."""
    began: datetime = NEVER
    """When this round began."""
    unsettled: datetime | None = None
    """When the files of the hours that this round found stale were new to the index, the oldest."""
    removed: datetime = NEVER
    """When maintenance last removed landed files of hours that may still change."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """Parse `str(cursor)`; return a new one, which trusts nothing, if that is impossible."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.MsgspecError:
            return cls()

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Freshness:
    """The result of a scan."""

    stale_hours: tuple[datetime, ...]
    """In order; UTC."""
    stale_days: tuple[date, ...]
    """Days whose daily tables are behind `toots` as it is, in order; UTC."""
    ignored: tuple[str, ...]
    """What is not counted, and why, a line each."""
    cursor: Cursor = field(default_factory=Cursor)
    first_day: date = date.max
    """The first day of the tables, UTC: see `usage.first_day`."""
    newest: datetime | None = None
    """When the newest file with records of the current hour or its neighbours was written, UTC."""
    last_hour: datetime | None = None
    """The hour before the current one, UTC, if anything landed of it."""
    landed: Mapping[datetime, Sequence[StoredFile]] = field(default_factory=dict)
    """The files that hold records of the stale hours."""


def scan(
    lake: Lake,
    cursor: Cursor,
    now: datetime,
    first_day: date,
    listing_seconds: float = LISTING_SECONDS,
    max_hours: int = MAX_COMPARED_HOURS,
    earliest: date | None = None,
) -> Freshness:
    """Find what is stale at `now` (UTC), from `first_day` to the hour of `now`.

    Goes on with the sweep for `listing_seconds`, and with the round by `max_hours`. The tables
    begin earlier, but not before `earliest`, if what landed vouches for it (`usage.first_day`).
    """
    removed = max(
        (file.modified for file in lake.list_files(lake.layout.removal_marker())), default=NEVER
    )
    refreshed, after = lake.landed.refresh(), ""
    forgotten = refreshed.forgotten
    if not refreshed.whole:
        swept, after = lake.landed.sweep(cursor.after, listing_seconds)
        forgotten += swept.forgotten
    if removed != cursor.removed or cursor.horizon > now or forgotten:
        # An hour that lost a file is stale, and no newer file shows it. Or the cursor is of a
        # former version, or a clock was set back.
        cursor = Cursor(removed=removed)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    current = [this_hour - HOUR, this_hour, this_hour + HOUR]
    indexed = lake.landed.hours_indexed_since(cursor.horizon)
    oldest = oldest_vouched(indexed, earliest or first_day, now)
    if oldest is not None and oldest < first_day:
        first_day = begin_with(oldest, earliest or first_day, now)
        # What was too old until now was passed over, and is behind the horizon.
        cursor = Cursor(removed=removed)
        indexed = lake.landed.hours_indexed_since(cursor.horizon)
    changed, ignored = _countable(indexed, now, first_day)
    if cursor.hour == NEVER:
        cursor = msgspec.structs.replace(cursor, began=now)
    piece = [hour for hour in sorted(changed) if hour > cursor.hour][:max_hours]
    by_hour = lake.landed.of_hours({*piece, *current})
    # The next hour's partition begins with the hour; until then its toots, of clocks that are a
    # little ahead, wait.
    stale_hours = _stale_hours(lake, {h: files for h, files in by_hour.items() if h <= now})
    stale_days = _stale_days(lake, {hour.date() for hour in by_hour})
    # Nothing that is stale may fall behind the horizon.
    unsettled = [
        changed[hour]
        for hour in piece
        if hour in stale_hours or hour.date() in stale_days or hour > now
    ]
    ends = not piece or piece[-1] == max(changed)
    newest = [file.modified for hour in current for file in by_hour.get(hour, ())]
    return Freshness(
        tuple(sorted(stale_hours)),
        tuple(sorted(stale_days)),
        ignored,
        _advance(cursor, after, removed, unsettled, NEVER if ends else piece[-1]),
        first_day,
        max(newest, default=None),
        this_hour - HOUR if this_hour - HOUR in by_hour else None,
        {hour: by_hour[hour] for hour in stale_hours},
    )


def contiguous(moments: Sequence[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Return the ranges (first, last) that cover these sorted moments and nothing else."""
    ranges: list[tuple[datetime, datetime]] = []
    for moment in moments:
        if ranges and moment == ranges[-1][1] + step:
            ranges[-1] = (ranges[-1][0], moment)
        else:
            ranges.append((moment, moment))
    return ranges


def _advance(
    cursor: Cursor, after: str, removed: datetime, unsettled: list[datetime], hour: datetime
) -> Cursor:
    """Return the cursor after a scan; at a round's end its horizon moves up."""
    if cursor.unsettled is not None:
        unsettled = [*unsettled, cursor.unsettled]
    if hour != NEVER:
        oldest = min(unsettled, default=None)
        return Cursor(cursor.horizon, after, hour, cursor.began, oldest, removed)
    horizon = min([*unsettled, cursor.began])
    if horizon > cursor.horizon + MARGIN:
        return Cursor(horizon - MARGIN, after, removed=removed)
    return Cursor(cursor.horizon, after, removed=removed)


def _countable(
    indexed: Mapping[datetime | None, IndexedHour], now: datetime, first_day: date
) -> tuple[dict[datetime, datetime], tuple[str, ...]]:
    """Return the hours that have a partition, or soon will, and lines about the others' records."""
    changed: dict[datetime, datetime] = {}
    before = future = implausible = 0
    for hour, content in indexed.items():
        if hour is None:
            implausible += content.records
        elif hour.date() < first_day:
            before += content.records
        elif hour > now + HOUR:
            future += content.records
        else:
            changed[hour] = content.indexed_at
    reasons = (
        (before, f"from before {first_day}, the tables' first day"),
        (future, "of future hours (wrong clocks)"),
        (implausible, "without a plausible post time"),
    )
    return changed, tuple(f"{count} records {reason}" for count, reason in reasons if count)


def _stale_hours(lake: Lake, by_hour: Mapping[datetime, Collection[StoredFile]]) -> set[datetime]:
    counts = [table for table in HOURLY_TABLES if table is not TOOTS]  # made from it, and last
    built = {
        file.path: file
        for day in {hour.date() for hour in by_hour}
        for table in counts
        for file in lake.parquet_files(lake.layout.table_day(table.name, day))
    }
    tables = {hour: [table.path(lake.layout, hour) for table in counts] for hour in by_hour}
    built_from = lake.built_from_as_listed(
        built[path] for paths in tables.values() for path in paths if path in built
    )
    return {
        hour
        for hour, files in by_hour.items()
        if any(built_from.get(path) != fingerprint(files) for path in tables[hour])
    }


def _stale_days(lake: Lake, days: Iterable[date]) -> set[date]:
    stale = set()
    for day in days:
        if not (toots := lake.parquet_files(lake.layout.toots_day(day))):
            continue
        now = fingerprint(toots)
        # One after another: while toots keep coming, the first one is behind nearly always.
        for path in (table.path(lake.layout, day) for table in DAILY_TABLES):
            built_from = lake.built_from_as_listed(lake.parquet_files(path))
            if built_from.get(path) != now:
                stale.add(day)
                break
    return stale
