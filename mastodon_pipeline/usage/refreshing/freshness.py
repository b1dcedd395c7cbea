"""Which hours and days are behind what has landed.

No memory of what was requested is kept: an hour is stale as long as its table's file does not
carry the fingerprint of the files that lie in the hour's folder now. So a run that fails, is
killed or never starts leaves its hours stale, and they are asked for again; files that land
while a run is reading leave theirs stale too.

A listing costs what it lists, so a look lists the running hour and its neighbours, and of all else
(late toots may reopen any hour) a piece, from where the last look stopped, for half a second: it
takes no longer where there is more history. A small lake is looked through at every look.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import groupby
from time import monotonic

import msgspec

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.building import DAILY_TABLES

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UPLOAD_MARGIN = timedelta(minutes=10)
"""S3 stamps a file with the start of its upload: it may appear this much later."""
PATIENCE_SECONDS = 0.5
"""How long a look goes on listing; a twentieth of the time between two looks."""
OPENED_AT_MOST = 100
"""Hours of a piece whose tables are opened: a few milliseconds each."""
NEVER = datetime.min.replace(tzinfo=UTC)


class Cursor(msgspec.Struct, frozen=True):
    """What one look hands to the next: how far the sweep is that goes through everything."""

    horizon: datetime = NEVER
    """Hours whose newest file is older than this were fresh when the last sweep passed them."""
    after: str = ""
    """The last file that this sweep has seen; empty where a new one begins."""
    newest: datetime = NEVER
    """When the newest file was written that was known as this sweep began."""
    seen: datetime = NEVER
    """When the newest file was written that this sweep has seen."""
    unsettled: datetime | None = None
    """The oldest of the hours (by their newest files) that this sweep found stale."""
    removed: datetime = NEVER
    """When maintenance last removed landed files of hours that are still looked at."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """From `str(cursor)`; a fresh one, which trusts nothing, where there is none."""
        try:
            return msgspec.json.decode(text, type=cls) if text else cls()
        except msgspec.MsgspecError:
            return cls()

    def __str__(self) -> str:
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a look found."""

    stale_hours: tuple[datetime, ...]
    """In order; UTC."""
    stale_days: tuple[date, ...]
    """Days whose daily tables are behind `toots` as it stands, in order; UTC."""
    ignored: tuple[str, ...]
    """Files that are not counted, and why, a line each."""
    cursor: Cursor = field(default_factory=Cursor)
    newest: datetime | None = None
    """When the newest file of the running hour and its neighbours was written, UTC."""


def look(
    lake: Lake,
    cursor: Cursor,
    now: datetime,
    first_day: date,
    patience: float = PATIENCE_SECONDS,
) -> Freshness:
    """What is seen to be stale at `now` (UTC), from `first_day` to the hour of `now`.

    Goes on with the sweep for `patience` seconds, and one hour's files at least.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    running = [
        file
        for hour in (this_hour - HOUR, this_hour, this_hour + HOUR)
        for file in lake.parquet_files(lake.layout.landed_hour(hour))
    ]
    removed = max(
        (f.modified for f in lake.list_files(lake.layout.removal_marker())), default=NEVER
    )
    if removed != cursor.removed:
        # An hour that lost a file is stale, and no newer file says so.
        cursor = Cursor(removed=removed)
    if not cursor.after:
        newest = max([file.modified for file in running] + [cursor.seen])
        cursor = Cursor(cursor.horizon, newest=newest, seen=newest, removed=removed)
    piece, after = _piece(lake, cursor, patience)
    landed = {file.path: file for file in (*running, *piece)}.values()
    by_hour, ignored = _by_hour(lake, landed, now, first_day)
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
    return Freshness(
        tuple(sorted(stale_hours)),
        tuple(sorted(stale_days)),
        ignored,
        _next(cursor, after, max([file.modified for file in piece] + [cursor.seen]), unsettled),
        max((file.modified for file in running), default=None),
    )


def contiguous(moments: Sequence[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Ranges (first, last) that cover these sorted moments and nothing else."""
    ranges: list[tuple[datetime, datetime]] = []
    for moment in moments:
        if ranges and moment == ranges[-1][1] + step:
            ranges[-1] = (ranges[-1][0], moment)
        else:
            ranges.append((moment, moment))
    return ranges


def _piece(lake: Lake, cursor: Cursor, patience: float) -> tuple[list[StoredFile], str]:
    """The files of the next hours, and after which file to go on: '' at the end."""
    deadline = monotonic() + patience
    found: list[StoredFile] = []
    opened = 0
    landed = lake.list_files(lake.layout.landed(), cursor.after)
    for _, listed in groupby(landed, lambda file: file.path.rpartition("/")[0]):
        files = list(listed)
        found += [file for file in files if file.path.endswith(".parquet")]
        opened += max(file.modified for file in files) >= cursor.horizon
        if opened >= OPENED_AT_MOST or monotonic() >= deadline:
            return found, files[-1].path
    return found, ""


def _next(cursor: Cursor, after: str, seen: datetime, unsettled: list[datetime]) -> Cursor:
    """The cursor after a look; at a sweep's end its horizon moves up."""
    if cursor.unsettled is not None:
        unsettled = [*unsettled, cursor.unsettled]
    if after:
        oldest = min(unsettled, default=None)
        return Cursor(cursor.horizon, after, cursor.newest, seen, oldest, cursor.removed)
    horizon = min([*unsettled, cursor.newest])
    if horizon > cursor.horizon + UPLOAD_MARGIN:
        return Cursor(horizon - UPLOAD_MARGIN, seen=seen, removed=cursor.removed)
    return Cursor(cursor.horizon, seen=seen, removed=cursor.removed)


def _by_hour(
    lake: Lake, landed: Iterable[StoredFile], now: datetime, first_day: date
) -> tuple[dict[datetime, list[StoredFile]], tuple[str, ...]]:
    by_hour: defaultdict[datetime, list[StoredFile]] = defaultdict(list)
    ignored: dict[str, int] = defaultdict(int)
    for file in landed:
        hour = lake.layout.hour_of(file.path)
        if hour is None:
            ignored["in no hour's folder"] += 1
        elif hour.date() < first_day:
            ignored[f"from before FIRST_DAY {first_day}"] += 1
        elif hour > now + HOUR:
            ignored["from hours to come (wild clocks)"] += 1
        else:
            by_hour[hour].append(file)
    return by_hour, tuple(f"{count} files {why}" for why, count in sorted(ignored.items()))


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
        tables = [lake.layout.daily(table, day) for table in DAILY_TABLES]
        built_from = lake.built_from(path for path in tables if lake.parquet_files(path))
        if any(built_from.get(path) != fingerprint(toots) for path in tables):
            stale.add(day)
    return stale
