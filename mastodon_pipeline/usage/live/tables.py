"""The live tables' files: those of the bucket, but for what is behind, and local ones in its place.

The counts are made by the tables' own queries, over `toots` as they are now.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from enum import StrEnum
from pathlib import Path
from typing import Any

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.live.hours import Cut, LiveHours
from mastodon_pipeline.usage.tables.active_users import ACTIVE_USERS
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES, TOOTS
from mastodon_pipeline.usage.tables.table import Table

LIVE_TABLES: tuple[Table[Any], ...] = (
    *HOURLY_TABLES,
    *(table for table in DAILY_TABLES if table is not ACTIVE_USERS),
)
"""All but `server_coverage`, since no toot changes what servers reported of themselves that day,
and `active_users`, which is counted from 28 days."""
ALL_DAILY = frozenset(table.name for table in DAILY_TABLES)
KEPT_CUTS = 20
"""Local files are there for so many cuts: a query of an earlier one may still be reading."""
_OF_TOOTS = "read_parquet($toots_files, union_by_name := true, hive_partitioning := false)"


class Part(StrEnum):
    """Which files of a live table."""

    TABLE = "table"
    """All of the bucket's."""
    BEHIND = "behind"
    """Those of them that are not read as they are."""
    BASE = "base"
    """Of `toots`: those of them that are read but for some rows."""
    REPLACED = "replaced"
    """Of `toots`: local files with the uris of these rows."""
    LOCAL = "local"
    """Local files with the rows that were made now."""


@dataclass(slots=True)
class Day:
    """A day of which an hour, or a daily table, is behind."""

    toots: tuple[StoredFile, ...]
    """All its files of `toots` in the bucket."""
    behind: frozenset[str]
    """The daily tables that are behind, by name."""


@dataclass(slots=True)
class CutFiles:
    """A cut, and the files made for it so far."""

    cut: Cut
    days: dict[date, Day] | None = None
    """Those of which a daily table is behind; None until somebody asks for one."""
    local: dict[str, list[str]] = field(default_factory=dict)
    """By table."""
    files: set[str] = field(default_factory=set)


class LiveTables:
    """Takes cuts of the lake and the topic, and makes the tables' local files of them."""

    def __init__(self, lake: Lake, hours: LiveHours, empty: Mapping[str, str]) -> None:
        """`empty`: by table, and for `replaced`, a file with its columns and no rows."""
        self._lake, self._hours, self._empty = lake, hours, empty
        self._cuts: deque[CutFiles] = deque()
        self._counted: dict[tuple[str, object], tuple[object, str]] = {}
        """By table and partition: what the local file was made from, and its path."""
        self._current_days: dict[date, object] = {}
        """What had landed of days whose daily tables were seen to be current."""
        self._has_files: set[str] = set()

    def take(self) -> CutFiles:
        """Take a cut, for `files`. Raises what `LiveHours.take` raises."""
        cut = self._hours.take()
        files = {file for live in cut.hours.values() for file in live.local_files()}
        taken = CutFiles(cut, files=files)
        self._cuts.append(taken)
        self._counted = {
            key: made
            for key, made in self._counted.items()
            if key[1] in cut.hours or key[1] in cut.days
        }
        if len(self._cuts) > KEPT_CUTS:
            gone = self._cuts.popleft().files
            for file in gone.difference(
                *(cut.files for cut in self._cuts), (made for _, made in self._counted.values())
            ):
                Path(file).unlink(missing_ok=True)
        return taken

    def files(self, now: CutFiles, table: Table[Any], part: Part) -> list[str]:
        """Return files of a table by a cut; never none, but perhaps an empty one."""
        lives = now.cut.hours.values()
        layout = self._lake.layout
        files: list[str | None] = []
        match part:
            case Part.TABLE:
                if self._has_file(table):
                    files = [f"{layout.table(table.name)}**/*.parquet"]
            case Part.BEHIND if table is TOOTS:
                files = [TOOTS.path(layout, hour) for hour in now.cut.hours]
            case Part.BEHIND:
                files = [
                    table.path(layout, partition) for partition in self._partitions(now, table)
                ]
            case Part.BASE:
                files = [live.table_file for live in lives]
            case Part.REPLACED:
                return [file for live in lives if (file := live.replaced)] or [
                    self._empty["replaced"]
                ]
            case Part.LOCAL if table is TOOTS:
                files = [live.made for live in lives]
            case Part.LOCAL:
                files = list(self._local(now, table))
        return [file for file in files if file] or [self._empty[table.name]]

    def _has_file(self, table: Table[Any]) -> bool:
        if table.name not in self._has_files:
            if not next(iter(self._lake.list_files(self._lake.layout.table(table.name))), None):
                return False
            self._has_files.add(table.name)
        return True

    def _days(self, now: CutFiles) -> dict[date, Day]:
        """Return the days of which a daily table is behind."""
        if now.days is None:
            with_hours = {hour.date() for hour in now.cut.hours}
            now.days = {day: Day(self._toots(day), ALL_DAILY) for day in with_hours}
            now.days |= self._not_counted(
                {
                    day: landed
                    for day, landed in now.cut.days.items()
                    if day not in with_hours and self._current_days.get(day) != landed
                }
            )
        return now.days

    def _not_counted(self, days: Mapping[date, object]) -> dict[date, Day]:
        """Return those of the days of which a daily table was not made from `toots` as it is."""
        if not days:
            return {}
        layout = self._lake.layout
        there = {
            file.path
            for table in DAILY_TABLES
            for file in self._lake.parquet_files(layout.table(table.name))
        }
        paths = {
            day: {table.name: table.path(layout, day) for table in DAILY_TABLES} for day in days
        }
        built_from = self._lake.built_from(
            path for by_name in paths.values() for path in by_name.values() if path in there
        )
        behind = {}
        for day, landed in days.items():
            toots = self._toots(day)
            now = fingerprint(toots)
            names = frozenset(n for n, path in paths[day].items() if built_from.get(path) != now)
            if names and toots:
                behind[day] = Day(toots, names)
            else:
                self._current_days[day] = landed
        return behind

    def _toots(self, day: date) -> tuple[StoredFile, ...]:
        return tuple(self._lake.parquet_files(self._lake.layout.toots_day(day)))

    def _partitions(self, now: CutFiles, table: Table[Any]) -> list[datetime] | list[date]:
        if table in HOURLY_TABLES:
            return list(now.cut.hours)
        days = [day for day, state in self._days(now).items() if table.name in state.behind]
        if not table.of_text:
            return days
        forgotten = self._lake.forgotten.current()
        return [
            day
            for day in days
            if not forgotten.is_past_retention(datetime.combine(day, time(), UTC))
        ]

    def _local(self, now: CutFiles, table: Table[Any]) -> list[str]:
        if table.name not in now.local:
            made = [
                self._count(now, table, partition) for partition in self._partitions(now, table)
            ]
            now.local[table.name] = made
            now.files.update(made)
        return now.local[table.name]

    def _count(self, now: CutFiles, table: Table[Any], partition: datetime | date) -> str:
        """Make a table's partition by its own query, unless the last one was made from the same."""
        if isinstance(partition, datetime):
            lives = [now.cut.hours[partition]]
            table_files = [live.table_file for live in lives if live.table_file]
            made_from: object = lives
            values: dict[str, object] = {"hour_start": partition}
        else:
            day = self._days(now)[partition]
            lives = [live for hour, live in now.cut.hours.items() if hour.date() == partition]
            whole = {TOOTS.path(self._lake.layout, x.hour) for x in lives if not x.table_file}
            table_files = [file.path for file in day.toots if file.path not in whole]
            made_from = (lives, day.toots)
            values = {"day": partition}
        before = self._counted.get((table.name, partition))
        if before is not None and before[0] == made_from:
            return before[1]
        path = self._hours.new_file()
        values |= {
            "table_files": [self._empty[TOOTS.name], *table_files],
            "replaced_files": [self._empty["replaced"], *(x.replaced for x in lives if x.replaced)],
            "local_files": [self._empty[TOOTS.name], *(x.made for x in lives if x.made)],
        }
        self._lake.connection.execute(
            _over_toots_now(table), {**table.parameters(), **values, "built_from": "", "path": path}
        )
        self._counted[table.name, partition] = (made_from, path)
        return path


def _over_toots_now(table: Table[Any]) -> str:
    """Return a table's query, over `toots` as they are now in place of files."""
    text = query(table.query)
    toots = query("usage/live/toots_now")
    assert _OF_TOOTS in text, f"{table.query} does not read toots as the others do"
    return text.replace(_OF_TOOTS, f"({toots})")
