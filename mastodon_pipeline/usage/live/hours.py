"""The hours that are behind what was acknowledged, brought up to it: a consistent cut.

**What is counted.** Every record that Kafka had acknowledged when the cut began, and none twice,
though the sink lands files and runs build tables meanwhile. A record is known by its topic's id,
its partition and its offset. A toot is known by its uri: `toots.sql`, with which the tables are
built, makes one row of all records of a toot, however often it gets one. So a record may be read
from two places, and must be read from one. The order of the readings sees to that:

1. how far the sink has committed, and then where the topic ends (`sink_progress`);
2. the tail, from the one to the other; what is acknowledged later is the next cut's;
3. the landed files. What the sink had committed at 1 was in a complete file by then, so it is in
   this listing; what it has landed since is in the tail as well;
4. the tables, each with the fingerprint of the landed files that it was built from. If a table was
   built from files that are not in the listing, the files are listed again. If it is replaced
   later, before the query reads it, it has more records, never fewer.

A topic that was made again has another id: then the tail starts over. The id is asked for before
and after the tail is read.

**How.** An hour is behind if its table's fingerprint is not that of the hour's landed files, or if
the tail has records of it. Its rows stay as they are, but for those that the new records have to do
with: these are made again, by `toots.sql`, from all their records. Records have to do with each
other if they share a uri, or a server's status id, or if both do so with a third: nothing else in
`toots.sql` relates two records. An hour is made whole if it has no table yet, if the files of its
table cannot be made out, if maintenance has removed landed files of it, or if new records are of
people who were forgotten: its rows are nameless then, and so is what is made of these records.

**What is not counted**, as in the tables: hours before their first day (`usage.first_day`), and
those that have not begun.
Of an hour that is behind, though no file of it was landed for `WINDOW`, what its tables hold is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from uuid import uuid4

import duckdb

from mastodon_pipeline.errors import RecordsGone
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import IndexedHour
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.first_day import begin_with, first_day_of, oldest_vouched
from mastodon_pipeline.usage.inputs.clock_skew import (
    HOUR,
    counted_in,
    counted_in_previous_hour,
)
from mastodon_pipeline.usage.inputs.forgotten import without_forgotten
from mastodon_pipeline.usage.inputs.removed_hours import hour_records
from mastodon_pipeline.usage.live.tail import Tail, TailState
from mastodon_pipeline.usage.tables.building import write_rows
from mastodon_pipeline.usage.tables.hourly import TOOTS, TOOTS_PER_SERVER_PER_HOUR

WINDOW = timedelta(days=2)
"""Hours are compared with their tables if a file of theirs was landed within this time."""
MAX_HOURS = 48
"""Hours that a cut brings up to date, the newest: a tenth of a second each."""
REMOVED_AFTER = timedelta(days=1)
"""Landed files of younger hours are never removed (`maintenance`)."""


@dataclass(frozen=True, slots=True)
class LiveHour:
    """An hour that is behind."""

    hour: datetime
    """Its start, UTC."""
    table_file: str | None
    """The file of `toots` that has its other rows; None if `made` has all of them."""
    made: str | None
    """A local file with the rows that were made now; None if `toots` is as it should be."""
    replaced: str | None
    """A local file with the uris whose rows in `table_file` are not valid any more."""

    def local_files(self) -> tuple[str, ...]:
        """Return the local files."""
        return tuple(file for file in (self.made, self.replaced) if file)


@dataclass(frozen=True, slots=True)
class Cut:
    """The lake and the topic at one moment."""

    hours: Mapping[datetime, LiveHour]
    """Those that are behind."""
    days: Mapping[date, object]
    """The days of hours that have changed lately, with what changes when more of them lands."""
    notes: tuple[str, ...] = ()
    """What is not counted though it should be, a line each."""


class LiveHours:
    """Takes cuts; what did not change from one to the next is kept."""

    def __init__(
        self,
        lake: Lake,
        tail: Tail,
        earliest: date,
        directory: Path,
        max_hours: int = MAX_HOURS,
    ) -> None:
        self._lake, self._tail = lake, tail
        self._earliest = earliest
        self._first_day: date | None = None
        """The tables begin with it (`usage.first_day`): it is never later than it was."""
        self._directory, self._max_hours = directory, max_hours
        self._current: dict[datetime, object] = {}
        """Hours whose tables were seen to be current, and what had landed of them by then."""
        self._made: dict[datetime, tuple[object, LiveHour]] = {}
        """By hour: what it was made from, and the result."""
        self._known: dict[datetime, set[str]] = {}
        """By hour: the landed files in `known_record`."""
        self._listed = False
        lake.connection.execute(query("usage/live/known_record"))
        lake.forgotten.prepare()

    def take(self) -> Cut:
        """Take a cut, as the module says.

        Raises:
            KafkaUnavailable, RegistryUnavailable: the tail cannot be read.
            ObjectStoreUnavailable: the object store does not answer, or refuses.
            duckdb.Error: the object store failed while a file was read.
        """
        now = self._lake.landed.clock()
        tail = self._tail.advance()
        self._refresh(tail, now)
        changed = self._changed(tail, now)
        hours = self._behind(changed, tail.hours, now)
        if any(inputs.is_newer() for inputs in hours.values()):
            self._refresh(tail, now)
            changed = self._changed(tail, now)
            hours = self._behind(changed, tail.hours, now)
        left_out = sorted(hours)[: -self._max_hours]
        notes = _notes(tail.behind, left_out)
        made: dict[datetime, LiveHour] = {}
        for hour in sorted(set(hours) - set(left_out)):
            tail_records, previous = tail.hours.get(hour), made.get(hour - HOUR)
            try:
                made[hour] = self._make(hour, hours[hour], tail_records, previous)
            except RecordsGone as error:
                notes.append(str(error))
        self._forget(made)
        return Cut(made, _days(changed), tuple(notes))

    def new_file(self) -> str:
        """Return the path of a new local file: DuckDB may cache what one of a name held."""
        return str(self._directory / f"{uuid4().hex}.parquet")

    def _refresh(self, tail: TailState, now: datetime) -> None:
        # A record lands in the folder of the day on which Kafka took it, also after midnight.
        since = tail.landed_since
        if not self._listed:
            since = min(since or now.date(), (now - timedelta(days=1)).date())
        self._lake.landed.refresh(whole=tail.unknown_landed and self._listed, since=since)
        self._listed = True

    def _changed(self, tail: TailState, now: datetime) -> dict[datetime, object]:
        """Return the hours that have changed lately, with what changes when more of them lands."""
        indexed = self._lake.landed.hours_indexed_since(now - WINDOW)
        first_hour = datetime.combine(self._begin(indexed, tail, now), time(), UTC)
        return {
            hour: indexed.get(hour)
            for hour in indexed.keys() | tail.hours.keys()
            if hour is not None and first_hour <= hour <= now
        }

    def _begin(
        self, indexed: Mapping[datetime | None, IndexedHour], tail: TailState, now: datetime
    ) -> date:
        """Return the day that the tables begin with once all has landed."""
        if self._first_day is None:
            self._first_day = first_day_of(self._lake, self._earliest, now)
        for hours in (indexed, tail.vouched):
            oldest = oldest_vouched(hours, self._earliest, now)
            if oldest is not None and oldest < self._first_day:
                self._first_day = begin_with(oldest, self._earliest, now)
        return self._first_day

    def _behind(
        self,
        changed: Mapping[datetime, object],
        tail_hours: Mapping[datetime, str],
        now: datetime,
    ) -> dict[datetime, "_Inputs"]:
        candidates = {
            hour
            for hour, landed in changed.items()
            if hour in tail_hours or self._current.get(hour) != landed
        }
        landed = self._lake.landed.of_hours(candidates)
        fingerprints = {hour: fingerprint(landed.get(hour, ())) for hour in candidates}
        tables = {
            file.path: file
            for day in {hour.date() for hour in candidates}
            for prefix in (
                self._lake.layout.toots_day(day),
                self._lake.layout.toots_per_server_day(day),
            )
            for file in self._lake.parquet_files(prefix)
        }
        paths = {hour: TOOTS.path(self._lake.layout, hour) for hour in candidates}
        counts = {
            hour: TOOTS_PER_SERVER_PER_HOUR.path(self._lake.layout, hour) for hour in candidates
        }
        built_from = self._lake.built_from(
            path for path in (*paths.values(), *counts.values()) if path in tables
        )
        behind = {}
        for hour in candidates:
            table, built = tables.get(paths[hour]), built_from.get(paths[hour])
            current = built == built_from.get(counts[hour]) == fingerprints[hour]
            if current and hour not in tail_hours:
                self._current[hour] = changed[hour]
                continue
            removed = hour < now - REMOVED_AFTER and bool(
                self._lake.parquet_files(self._lake.layout.removed_hour(hour))
            )
            behind[hour] = _Inputs(landed.get(hour, ()), table, built, removed)
        return behind

    def _make(
        self,
        hour: datetime,
        inputs: "_Inputs",
        tail_records: str | None,
        previous: LiveHour | None,
    ) -> LiveHour:
        forgotten = self._lake.forgotten.current()
        made_from = (inputs, tail_records, previous and previous.made, forgotten)
        before = self._made.get(hour)
        if before is not None and before[0] == made_from:
            return before[1]
        try:
            live = self._make_now(hour, inputs, tail_records, previous)
        except duckdb.Error:
            landed = inputs.landed
            damaged = self._lake.landed.mark_unreadable(file.path for file in landed)
            if not damaged:
                raise
            paths = {file.path for file in damaged}
            rest = tuple(file for file in landed if file.path not in paths)
            inputs = _Inputs(rest, inputs.table, inputs.built, inputs.removed)
            live = self._make_now(hour, inputs, tail_records, previous)
        self._made[hour] = (made_from, live)
        return live

    def _make_now(
        self,
        hour: datetime,
        inputs: "_Inputs",
        tail_records: str | None,
        previous: LiveHour | None,
    ) -> LiveHour:
        new: list[str] = []
        if tail_records is not None:
            new.append(self._local("tail_of_hour", hour))
        try:
            in_table = inputs.in_table()
            if in_table is None or self._lake.forgotten.current().is_past_retention(hour):
                return self._make_whole(hour, new, previous)
            assert inputs.table is not None
            built = {file.path for file in in_table}
            tail_file = list(new)
            new += [file.path for file in inputs.landed if file.path not in built]
            if not new:
                return LiveHour(hour, inputs.table.path, None, None)
            if self._concerns_forgotten(hour, in_table, new):
                return self._make_whole(hour, tail_file, previous)
            return self._make_new(hour, inputs.table.path, in_table, new, previous)
        finally:
            if tail_records is not None:
                Path(new[0]).unlink(missing_ok=True)

    def _make_whole(
        self, hour: datetime, tail_file: Sequence[str], previous: LiveHour | None
    ) -> LiveHour:
        with hour_records(self._lake, hour) as records:
            made = self._write_toots(hour, [*records.paths, *tail_file], previous)
        return LiveHour(hour, None, made, None)

    def _concerns_forgotten(
        self, hour: datetime, in_table: Sequence[StoredFile], new: Sequence[str]
    ) -> bool:
        """Return whether new records are of people or servers that were forgotten.

        They have to do with rows whose uris are hashes: such an hour is made whole.
        """
        forgotten = self._lake.forgotten.current().names
        if not forgotten:
            return False
        self._know(hour, in_table)
        files = [self._lake.empty_record, *new]
        return bool(
            self._count(
                self._execute("concerns_forgotten", hour, files=files, **forgotten.name_parameters)
            )
        )

    def _make_new(
        self,
        hour: datetime,
        table_file: str,
        in_table: Sequence[StoredFile],
        new: Sequence[str],
        previous: LiveHour | None,
    ) -> LiveHour:
        self._know(hour, in_table)
        moved = [previous.made] if previous and previous.made else []
        self._execute("related_record", hour, files=[self._lake.empty_record, *new, *moved])
        while self._count(self._execute("relate", hour)):
            pass
        files = [path for (path,) in self._execute("related_paths").fetchall()]
        records = [self._lake.empty_record, *new]
        if files:
            records.append(self._local("related_of_files", files=files))
        replaced = self._local("replaced", file=table_file, salt=self._lake.salt)
        made = self._write_toots(hour, records, previous)
        for path in records[1 + len(new) :]:
            Path(path).unlink()
        return LiveHour(hour, table_file, made, replaced)

    def _know(self, hour: datetime, in_table: Sequence[StoredFile]) -> None:
        """Have what identifies the records of these files in `known_record`, and no others'."""
        paths = {file.path for file in in_table}
        known = self._known.setdefault(hour, set())
        if known - paths:  # a file that was damaged, say
            self._connection.execute("DELETE FROM known_record WHERE hour = ?", [hour])
            known.clear()
        if paths - known:
            self._execute("know", hour, files=[self._lake.empty_record, *sorted(paths - known)])
            known |= paths

    def _write_toots(
        self, hour: datetime, records: Sequence[str], previous: LiveHour | None
    ) -> str:
        path = self.new_file()
        values = {
            "hour_start": hour,
            "hour_end": hour + HOUR,
            "empty_record": self._lake.empty_record,
            "built_from": "",
            "past_retention": self._lake.forgotten.current().is_past_retention(hour),
            **(
                counted_in_previous_hour(self._lake, hour)
                if previous is None
                else counted_in(self._lake, (previous.table_file, previous.made))
            ),
        }
        with without_forgotten(self._lake, hour, records) as raw_files:
            write_rows(self._lake, TOOTS, path, {"raw_files": list(raw_files), **values})
        return path

    def _forget(self, made: Mapping[datetime, LiveHour]) -> None:
        for hour in self._known.keys() - made.keys():
            self._connection.execute("DELETE FROM known_record WHERE hour = ?", [hour])
            del self._known[hour]
        self._made = {hour: self._made[hour] for hour in made}

    @property
    def _connection(self) -> duckdb.DuckDBPyConnection:
        return self._lake.connection

    def _local(self, name: str, hour: datetime | None = None, **values: object) -> str:
        """Write a local file by a query; return its path."""
        path = self.new_file()
        self._execute(name, hour, path=path, **values)
        return path

    def _execute(
        self, name: str, hour: datetime | None = None, **values: object
    ) -> duckdb.DuckDBPyConnection:
        text = query(f"usage/live/{name}")
        if hour is not None:
            values["hour_start"] = hour
            if "$hour_end" in text:
                values["hour_end"] = hour + HOUR
        return self._connection.execute(text, values or None)

    def _count(self, result: duckdb.DuckDBPyConnection) -> int:
        row = result.fetchone()
        return int(row[0]) if row else 0


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What an hour is made from, beside the tail."""

    landed: tuple[StoredFile, ...]
    table: StoredFile | None
    built: str | None
    """The fingerprint in the table's file."""
    removed: bool
    """Maintenance has removed landed files of the hour."""

    def in_table(self) -> Sequence[StoredFile] | None:
        """Return the landed files in the hour's table, None if they are unknown."""
        if self.table is None or self.built is None or self.removed:
            return None
        # A build takes all files that have landed by then.
        by_age = sorted(self.landed, key=lambda file: (file.modified, file.path))
        for count in reversed(range(len(by_age) + 1)):
            if fingerprint(by_age[:count]) == self.built:
                return by_age[:count]
        return None

    def is_newer(self) -> bool:
        """Return whether the table may have been built from files that were not listed yet."""
        return self.built is not None and not self.removed and self.in_table() is None


def _days(changed: Mapping[datetime, object]) -> dict[date, object]:
    by_day: dict[date, list[object]] = {}
    for hour in sorted(changed):
        by_day.setdefault(hour.date(), []).append((hour, changed[hour]))
    return {day: tuple(hours) for day, hours in by_day.items()}


def _notes(behind: int, left_out: Sequence[datetime]) -> list[str]:
    notes = []
    if behind:
        notes.append(
            f"the sink is so far behind that {behind:,} records of the topic are not counted"
        )
    if left_out:
        notes.append(
            f"{len(left_out)} hours are as in the tables, though more has come: they are before"
            f" {left_out[-1] + HOUR:%Y-%m-%d %H:%M} UTC"
        )
    return notes
