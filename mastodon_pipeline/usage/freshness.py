"""Which hours and days are behind what has landed.

No memory of what was requested is kept: an hour is stale as long as its table's file does not
carry the fingerprint of the files that lie in the hour's folder now. So a run that fails, is
killed or never starts leaves its hours stale, and they are asked for again; files that land
while a run is reading leave theirs stale too.

A listing costs what the history costs, so looking is shared out: the running hour and its
neighbours at every look, everything else (late toots may reopen any hour) so seldom that it takes
no more than a twentieth of the time. A small lake is thereby looked through at every look.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from time import monotonic

import msgspec

from mastodon_pipeline.usage.lake import Lake, StoredFile, fingerprint
from mastodon_pipeline.usage.tables import DAILY_TABLES

__all__ = ["Cursor", "Freshness", "contiguous", "look"]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
UPLOAD_MARGIN = timedelta(minutes=10)
"""S3 stamps a file with the start of its upload: it may appear this much later."""
SWEEP_SHARE = 20
"""Everything is listed once in so many times as long as a listing takes."""


class Cursor(msgspec.Struct, frozen=True):
    """What one look hands to the next."""

    horizon: datetime = datetime.min.replace(tzinfo=UTC)
    """Hours whose newest file is older than this were fresh when everything was last listed."""
    swept_at: datetime = datetime.min.replace(tzinfo=UTC)
    """When everything was last listed."""
    sweep_seconds: float = 0.0
    """How long that took."""

    @classmethod
    def parse(cls, text: str | None) -> "Cursor":
        """From `str(cursor)`; a fresh one, which looks at everything, where there is none."""
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
    """Folders that are not counted, and why, a line each."""
    cursor: Cursor = field(default_factory=Cursor)


def look(lake: Lake, cursor: Cursor, now: datetime, first_day: date) -> Freshness:
    """What is stale at `now` (UTC), from `first_day` to the hour of `now`."""
    swept = now >= cursor.swept_at + timedelta(seconds=SWEEP_SHARE * cursor.sweep_seconds)
    started = monotonic()
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    landed = (
        lake.parquet_files(lake.layout.landed())
        if swept
        else [
            file
            for hour in (this_hour - HOUR, this_hour, this_hour + HOUR)
            for file in lake.parquet_files(lake.layout.landed_hour(hour))
        ]
    )
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
    if swept:
        # Nothing that is stale may fall behind the horizon.
        unsettled = [
            max(file.modified for file in files)
            for hour, files in recent.items()
            if hour in stale_hours or hour.date() in stale_days or hour > now
        ]
        newest = max((file.modified for file in landed), default=cursor.horizon + UPLOAD_MARGIN)
        horizon = max(min([*unsettled, newest]) - UPLOAD_MARGIN, cursor.horizon)
        cursor = Cursor(horizon, now, round(monotonic() - started, 3))
    return Freshness(tuple(sorted(stale_hours)), tuple(sorted(stale_days)), ignored, cursor)


def contiguous(moments: Sequence[datetime], step: timedelta) -> list[tuple[datetime, datetime]]:
    """Ranges (first, last) that cover these sorted moments and nothing else."""
    ranges: list[tuple[datetime, datetime]] = []
    for moment in moments:
        if ranges and moment == ranges[-1][1] + step:
            ranges[-1] = (ranges[-1][0], moment)
        else:
            ranges.append((moment, moment))
    return ranges


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
