"""Checks of the lake as it is, whoever built it: is it current, and is all of it counted?

They cost little with any history: they compare the last two days, and ask the index of the landed
files for what no hour's table counts.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import UnreadableFile
from mastodon_pipeline.usage.checks.check import LISTED_FAULTS, Finding, compare_each
from mastodon_pipeline.usage.first_day import first_day_due

HOUR = timedelta(hours=1)
CHECKED_HOURS = 48
HOURLY_PATIENCE = timedelta(minutes=10)
"""How long an hour's tables may be behind what has landed: they are due within a minute."""
NEVER = datetime.min.replace(tzinfo=UTC)
DAILY_PATIENCE = timedelta(minutes=30)
"""How long a day's tables may be behind its toots: they are due within fifteen minutes."""


def hours_are_current(lake: Lake, now: datetime) -> Finding:
    """Find hours, of the last 48, whose counts are older than their newest landed file.

    Files are compared by version, as recorded in the table that was made from them, not by clocks
    alone: a file that landed while a table was being built is a fault too. `now`: UTC. An hour that
    has been behind for less than ten minutes is skipped.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    lake.landed.refresh()
    landed = lake.landed.of_hours([this_hour - ago * HOUR for ago in range(CHECKED_HOURS)])

    def find_faults(hour: datetime) -> list[str] | None:
        since = _behind_since(lake, lake.layout.toots_per_server(hour), landed[hour])
        if since is None:
            return []
        if now - since <= HOURLY_PATIENCE:
            return None
        return [f"{hour:%Y-%m-%d %H:%M} is behind what landed at {since:%F %T} UTC"]

    return compare_each(landed, find_faults)


def days_are_current(lake: Lake, tables: Iterable[str], now: datetime) -> Finding:
    """Find tables of today and yesterday that are not made from the day's toots as they are.

    `tables`: names of daily tables; `now`: UTC. A table that has been behind for less than 30
    minutes is skipped.
    """
    days = (now.date() - timedelta(days=1), now.date())
    folders = {day: lake.parquet_files(lake.layout.toots_day(day)) for day in days}
    toots = {day: files for day, files in folders.items() if files}

    def find_faults(partition: tuple[date, str]) -> list[str] | None:
        day, table = partition
        since = _behind_since(lake, lake.layout.daily(table, day), toots[day])
        if since is None:
            return []
        if now - since <= DAILY_PATIENCE:
            return None
        return [f"{table} of {day} is behind its toots of {since:%F %T} UTC"]

    return compare_each(product(toots, tables), find_faults)


@dataclass(frozen=True, slots=True)
class OutsideHours:
    """Landed records that no hour's table can count, and files that cannot be read."""

    first_day: date
    """The tables' first day, UTC."""
    before: int
    """Records of hours before that day: claimed to be old, see `usage.first_day`."""
    future: int
    """Of future hours. Listeners correct such times: our own clock ran ahead, or a replay."""
    implausible: int
    """Without a post time, or with one before 1970."""
    unreadable: tuple[UnreadableFile, ...]
    """Files below the topic's folder that hold no records, or damaged ones."""

    @property
    def passed(self) -> bool:
        """True if each record has an hour, or is old, and each file can be read."""
        return not (self.future or self.implausible or self.unreadable)

    @property
    def summary(self) -> str:
        """One line, and the first of the files that cannot be read."""
        lines = [
            f"{self.future} records of future hours, {self.implausible} without a plausible post"
            f" time, {len(self.unreadable)} files that cannot be read; {self.before} records from"
            f" before {self.first_day}, the tables' first day, are not counted"
        ]
        named = (f"{file.path}: {file.reason}" for file in self.unreadable[:LISTED_FAULTS])
        return "\n".join([*lines, *named])


def outside_hours(lake: Lake, now: datetime, earliest: date) -> OutsideHours:
    """Count what has landed outside the hours from the first day to the one after `now` (UTC).

    The first day is that of `usage.first_day`, not before `earliest`.

    All landed files are listed, and those that are new are opened; those that could not be read
    are tried again.
    """
    lake.landed.refresh(whole=True)
    first_day = first_day_due(lake, earliest, now)
    first = datetime.combine(first_day, time(), UTC)
    before = future = implausible = 0
    for hour, content in lake.landed.hours_indexed_since(NEVER).items():
        if hour is None:
            implausible += content.records
        elif hour < first:
            before += content.records
        elif hour > now + HOUR:
            future += content.records
    return OutsideHours(first_day, before, future, implausible, lake.landed.unreadable())


def _behind_since(lake: Lake, table: str, inputs: Sequence[StoredFile]) -> datetime | None:
    """Return since when a table is behind the files it should be made from; None if it is not."""
    built = [file for file in lake.parquet_files(table) if file.path == table]
    if built and lake.built_from([table]).get(table) == fingerprint(inputs):
        return None
    newest = max(file.modified for file in inputs)
    if not built:
        return newest
    return min((f.modified for f in inputs if f.modified > built[0].modified), default=newest)
