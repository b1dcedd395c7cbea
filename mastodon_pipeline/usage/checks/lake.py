"""Checks of the lake as it is, whoever built it: is it current, and is all of it counted?

They cost the same with any history: they list the last two days, and what lies outside all hours
that have a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import product

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import Finding, compare_each

HOUR = timedelta(hours=1)
CHECKED_HOURS = 48
HOURLY_PATIENCE = timedelta(minutes=10)
"""How long an hour's tables may be behind what has landed: they are due within a minute."""
DAILY_PATIENCE = timedelta(minutes=30)
"""How long a day's tables may be behind its toots: they are due within five minutes."""
COUNTED_FILES = 500
"""Of at most so many files outside all hours the records are counted; a few milliseconds each."""


def hours_are_current(lake: Lake, now: datetime) -> Finding:
    """Find hours, of the last 48, whose counts are older than their newest landed file.

    Files are compared by version, as recorded in the table that was made from them, not by clocks
    alone: a file that landed while a table was being built is a fault too. `now`: UTC. An hour that
    has been behind for less than ten minutes is skipped.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hours = (this_hour - hours_ago * HOUR for hours_ago in reversed(range(CHECKED_HOURS)))
    folders = {hour: lake.parquet_files(lake.layout.landed_hour(hour)) for hour in hours}
    landed = {hour: files for hour, files in folders.items() if files}

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
    """Landed files that no hour's table can count, and how many records the first 500 hold."""

    before: int
    """Files of hours before FIRST_DAY: claimed to be old, and left out as configured."""
    before_records: int
    future: int
    """Files of future hours. Listeners correct such times: our own clock ran ahead, or a replay."""
    future_records: int
    outside: int
    """Files outside any hour folder, such as records without a time."""

    @property
    def passed(self) -> bool:
        """True if no file is where it should not be; old toots may land."""
        return not (self.future or self.outside)

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.future} files in future hours, {self.outside} outside any hour folder;"
            f" {self.before} from before FIRST_DAY are not counted, as configured"
        )


def outside_hours(lake: Lake, now: datetime, first_day: date) -> OutsideHours:
    """Count what has landed outside the hours from `first_day` to the one after `now` (UTC).

    Folders are listed in the order of their hours, so a longer history costs no more.
    """
    first = datetime.combine(first_day, time(), UTC)
    before: list[StoredFile] = []
    outside = 0
    for file in lake.list_files(lake.layout.landed()):
        hour = lake.layout.hour_of(file.path)
        if hour is None:
            outside += 1
        elif hour < first:
            before.append(file)
        else:
            break
    future: list[StoredFile] = []
    # The tilde sorts after every name in the folder of the last hour that counts.
    for file in lake.list_files(lake.layout.landed(), f"{lake.layout.landed_hour(now + HOUR)}~"):
        if lake.layout.hour_of(file.path) is None:
            outside += 1
        else:
            future.append(file)
    return OutsideHours(
        len(before),
        _count_records(lake, before),
        len(future),
        _count_records(lake, future),
        outside,
    )


def _behind_since(lake: Lake, table: str, inputs: list[StoredFile]) -> datetime | None:
    """Return since when a table is behind the files it should be made from; None if it is not."""
    built = [file for file in lake.parquet_files(table) if file.path == table]
    if built and lake.built_from([table]).get(table) == fingerprint(inputs):
        return None
    newest = max(file.modified for file in inputs)
    if not built:
        return newest
    return min((f.modified for f in inputs if f.modified > built[0].modified), default=newest)


def _count_records(lake: Lake, files: Iterable[StoredFile]) -> int:
    paths = [file.path for file in files if file.path.endswith(".parquet")][:COUNTED_FILES]
    if not paths:
        return 0
    ((records,),) = lake.connection.execute(
        query("usage/checks/record_count"), {"files": paths}
    ).fetchall()
    return int(records)
