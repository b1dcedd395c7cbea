"""Checks of the lake as it lies, whoever built it: is it current, and is all of it counted.

They cost the same with any history: they look at the last two days, and at what lies outside all
hours that have a table.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.tables import Finding
from mastodon_pipeline.usage.tables.building import DAILY_TABLES

HOUR = timedelta(hours=1)
LOOK_BACK_HOURS = 48
PATIENCE = timedelta(minutes=10)
"""How long an hour's tables may be behind what has landed: they are due within a minute."""
DAILY_PATIENCE = timedelta(minutes=30)
"""How long a day's tables may be behind its toots: they are due within five minutes."""
COUNTED_FILES = 500
"""Of so many files outside all hours the records are counted; a few milliseconds each."""


def hours_are_current(lake: Lake, now: datetime) -> Finding:
    """Each of the last 48 hours has counts that are no older than its newest landed file.

    Told by the files' versions, which a table keeps of those it was made from, not by clocks
    alone: a file that landed while a table was being built is behind as well. `now`: UTC. An hour
    that is behind for less than ten minutes is left out.
    """
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    compared, unsettled = 0, 0
    faults: list[str] = []
    for back in reversed(range(LOOK_BACK_HOURS)):
        hour = this_hour - back * HOUR
        landed = lake.parquet_files(lake.layout.landed_hour(hour))
        if not landed:
            continue
        since = _behind_since(lake, lake.layout.toots_per_server(hour), landed)
        if since is not None and now - since <= PATIENCE:
            unsettled += 1
            continue
        compared += 1
        if since is not None:
            faults.append(f"{hour:%Y-%m-%d %H:%M} is behind what landed at {since:%F %T} UTC")
    return Finding(compared, tuple(faults), unsettled)


def days_are_current(lake: Lake, now: datetime) -> Finding:
    """Each daily table of today and yesterday is made from the day's toots as they stand.

    `now`: UTC. A table that is behind for less than 30 minutes is left out.
    """
    compared, unsettled = 0, 0
    faults: list[str] = []
    for day in (now.date() - timedelta(days=1), now.date()):
        toots = lake.parquet_files(lake.layout.toots_day(day))
        for table in DAILY_TABLES if toots else ():
            since = _behind_since(lake, lake.layout.daily(table, day), toots)
            if since is not None and now - since <= DAILY_PATIENCE:
                unsettled += 1
                continue
            compared += 1
            if since is not None:
                faults.append(f"{table} of {day} is behind its toots of {since:%F %T} UTC")
    return Finding(compared, tuple(faults), unsettled)


@dataclass(frozen=True, slots=True)
class OutsideHours:
    """Landed files that no hour's table can count, and how many records the first 500 hold."""

    before: int
    """Files of hours before FIRST_DAY: claimed to be old, and left out as configured."""
    before_records: int
    ahead: int
    """Files of hours to come. Listeners clamp such times: our own clock ran ahead, or a replay."""
    ahead_records: int
    nowhere: int
    """Files in a folder that names no hour, such as records without a time."""

    @property
    def passed(self) -> bool:
        """Nothing lies where it should not; old toots may."""
        return not (self.ahead or self.nowhere)

    @property
    def summary(self) -> str:
        """One line."""
        return (
            f"{self.ahead} files of hours to come, {self.nowhere} in no hour's folder;"
            f" {self.before} from before FIRST_DAY are not counted, as configured"
        )


def outside_hours(lake: Lake, now: datetime, first_day: date) -> OutsideHours:
    """What has landed outside the hours from `first_day` to the one after `now` (UTC).

    Folders are in the order of their hours, so neither end costs more with a longer history.
    """
    first = datetime.combine(first_day, time(), UTC)
    before: list[StoredFile] = []
    nowhere = 0
    for file in lake.list_files(lake.layout.landed()):
        hour = lake.layout.hour_of(file.path)
        if hour is None:
            nowhere += 1
        elif hour < first:
            before.append(file)
        else:
            break
    ahead: list[StoredFile] = []
    # The tilde stands after every name in the folder of the last hour that counts.
    for file in lake.list_files(lake.layout.landed(), f"{lake.layout.landed_hour(now + HOUR)}~"):
        if lake.layout.hour_of(file.path) is None:
            nowhere += 1
        else:
            ahead.append(file)
    return OutsideHours(
        len(before), _records(lake, before), len(ahead), _records(lake, ahead), nowhere
    )


def _behind_since(lake: Lake, table: str, sources: list[StoredFile]) -> datetime | None:
    """Since when a table is behind the files that it is to be made from; None where it is not."""
    built = [file for file in lake.parquet_files(table) if file.path == table]
    if built and lake.built_from([table]).get(table) == fingerprint(sources):
        return None
    newest = max(file.modified for file in sources)
    if not built:
        return newest
    return min((f.modified for f in sources if f.modified > built[0].modified), default=newest)


def _records(lake: Lake, files: Iterable[StoredFile]) -> int:
    paths = [file.path for file in files if file.path.endswith(".parquet")][:COUNTED_FILES]
    if not paths:
        return 0
    ((records,),) = lake.connection.execute(
        query("usage/checks/record_count"), {"files": paths}
    ).fetchall()
    return int(records)
