"""Which hours and days are behind what has landed.

There is no memory of what was requested: an hour is stale as long as its table's file does not
carry the fingerprint of the files that are in the hour's folder now. So a run that fails, is killed
or never starts leaves its hours stale, and they are requested again; files that land while a run
is reading leave theirs stale too.

A listing costs what it lists, so a scan lists the current hour and its neighbours, and of all else
(late toots may reopen any hour) a piece, from where the last scan stopped, for half a second: it
takes no longer with more history. A small lake is scanned whole each time.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from time import monotonic

import msgspec

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UPLOAD_MARGIN = timedelta(minutes=10)
"""S3 stamps a file with the start of its upload: it may appear this much later."""
LISTING_SECONDS = 0.5
"""How long a scan goes on listing; a twentieth of the time between two scans."""
MAX_OPENED_HOURS = 100
"""Hours of a piece whose tables are opened: a few milliseconds each."""
NEVER = datetime.min.replace(tzinfo=UTC)


class Cursor(msgspec.Struct, frozen=True):
    """What a scan leaves for the next: how far the sweep is, which goes through everything."""

    horizon: datetime = NEVER
    """Hours whose newest file is older than this were fresh when the last sweep passed them."""
    after: str = ""
    """The last file that this sweep has listed; empty if a new one begins."""
    newest: datetime = NEVER
    """When the newest file was written that was known as this sweep began."""
    seen: datetime = NEVER
    """When the newest file was written that this sweep has listed."""
    unsettled: datetime | None = None
    """The oldest of the hours (by their newest files) that this sweep found stale."""
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
    """Files that are not counted, and why, a line each."""
    cursor: Cursor = field(default_factory=Cursor)
    newest: datetime | None = None
    """When the newest file of the current hour and its neighbours was written, UTC."""


def scan(
    lake: Lake,
    cursor: Cursor,
    now: datetime,
    first_day: date,
    listing_seconds: float = LISTING_SECONDS,
) -> Freshness:
    """Find what is stale at `now` (UTC), from `first_day` to the hour of `now`.

    Goes on with the sweep for `listing_seconds`, and by at least one hour's files.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    current = [
        file
        for hour in (this_hour - HOUR, this_hour, this_hour + HOUR)
        for file in lake.parquet_files(lake.layout.landed_hour(hour))
    ]
    removed = max(
        (file.modified for file in lake.list_files(lake.layout.removal_marker())), default=NEVER
    )
    if (
        removed != cursor.removed or cursor.horizon > now
    ):  # of a former version, or a clock set back
        # An hour that lost a file is stale, and no newer file shows it.
        cursor = Cursor(removed=removed)
    if not cursor.after:
        newest = max([*_stamps(current, now), cursor.seen])
        cursor = Cursor(cursor.horizon, newest=newest, seen=newest, removed=removed)
    piece, after = _list_piece(lake, cursor, listing_seconds)
    landed = {file.path: file for file in (*current, *piece)}.values()
    by_hour, ignored = _group_by_hour(lake, landed, now, first_day)
    recent = {
        hour: files
        for hour, files in by_hour.items()
        if max(file.modified for file in files) >= cursor.horizon
    }
    # The next hour's partition begins with the hour; until then its toots, of clocks that are a
    # little ahead, wait.
    stale_hours = _stale_hours(lake, {h: files for h, files in recent.items() if h <= now})
    stale_days = _stale_days(lake, {hour.date() for hour in recent})
    # Nothing that is stale may fall behind the horizon.
    unsettled = [
        max(file.modified for file in files)
        for hour, files in recent.items()
        if hour in stale_hours or hour.date() in stale_days or hour > now
    ]
    seen = max([*_stamps(piece, now), cursor.seen])
    return Freshness(
        tuple(sorted(stale_hours)),
        tuple(sorted(stale_days)),
        ignored,
        _advance(cursor, after, seen, unsettled),
        max((file.modified for file in current), default=None),
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


def _list_piece(lake: Lake, cursor: Cursor, listing_seconds: float) -> tuple[list[StoredFile], str]:
    """Return the files of the next hours, and the file after which to go on: '' at the end."""
    deadline = monotonic() + listing_seconds
    piece: list[StoredFile] = []
    opened = 0
    landed = lake.list_files(lake.layout.landed(), cursor.after)
    for _, listed in groupby(landed, lambda file: file.path.rpartition("/")[0]):
        files = list(listed)
        piece += [file for file in files if file.path.endswith(".parquet")]
        opened += max(file.modified for file in files) >= cursor.horizon
        if opened >= MAX_OPENED_HOURS or monotonic() >= deadline:
            return piece, files[-1].path
    return piece, ""


def _stamps(files: Iterable[StoredFile], now: datetime) -> list[datetime]:
    """Return when these files were written, but for stamps in the future.

    A file that a wrong clock stamped a year ahead would move the horizon there, and hide all that
    lands in between.
    """
    return [file.modified for file in files if file.modified <= now]


def _advance(cursor: Cursor, after: str, seen: datetime, unsettled: list[datetime]) -> Cursor:
    """Return the cursor after a scan; at a sweep's end its horizon moves up."""
    if cursor.unsettled is not None:
        unsettled = [*unsettled, cursor.unsettled]
    if after:
        oldest = min(unsettled, default=None)
        return Cursor(cursor.horizon, after, cursor.newest, seen, oldest, cursor.removed)
    horizon = min([*unsettled, cursor.newest])
    if horizon > cursor.horizon + UPLOAD_MARGIN:
        return Cursor(horizon - UPLOAD_MARGIN, seen=seen, removed=cursor.removed)
    return Cursor(cursor.horizon, seen=seen, removed=cursor.removed)


def _group_by_hour(
    lake: Lake, landed: Collection[StoredFile], now: datetime, first_day: date
) -> tuple[dict[datetime, list[StoredFile]], tuple[str, ...]]:
    by_hour = lake.by_hour(landed)
    ignored = Counter({"outside any hour folder": len(landed) - sum(map(len, by_hour.values()))})
    for hour in list(by_hour):
        if hour.date() < first_day:
            ignored[f"from before FIRST_DAY {first_day}"] += len(by_hour.pop(hour))
        elif hour > now + HOUR:
            ignored["in future hours (wrong clocks)"] += len(by_hour.pop(hour))
    return by_hour, tuple(f"{count} files {why}" for why, count in sorted(ignored.items()) if count)


def _stale_hours(lake: Lake, by_hour: dict[datetime, list[StoredFile]]) -> set[datetime]:
    built = {
        file.path
        for day in {hour.date() for hour in by_hour}
        for file in lake.parquet_files(lake.layout.toots_per_server_day(day))
    }
    tables = {hour: lake.layout.toots_per_server(hour) for hour in by_hour}
    built_from = lake.built_from(path for path in tables.values() if path in built)
    return {
        hour
        for hour, files in by_hour.items()
        if built_from.get(tables[hour]) != fingerprint(files)
    }


def _stale_days(lake: Lake, days: Iterable[date]) -> set[date]:
    stale = set()
    for day in days:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        if not toots:
            continue
        tables = [table.path(lake.layout, day) for table in DAILY_TABLES]
        built_from = lake.built_from(path for path in tables if lake.parquet_files(path))
        if any(built_from.get(path) != fingerprint(toots) for path in tables):
            stale.add(day)
    return stale
