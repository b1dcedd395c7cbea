"""Bring an hour up to all of its records without making it again whole, where that can be.

Its rows stay as they are, but for those that the new records have to do with: these are made again,
by `toots.sql`, from all their records. Records have to do with each other if they share a uri, or a
server's status id, or if both do so with a third: nothing else in `toots.sql` relates two records.

An hour is made whole if it has no table yet, if the files of its table cannot be made out, if
maintenance has removed landed files of it, or if new records are of people who were forgotten: its
rows are nameless then, and so is what is made of these records.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import duckdb

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.inputs.clock_skew import (
    HOUR,
    counted_in,
    counted_in_previous_hour,
)
from mastodon_pipeline.usage.inputs.forgotten import without_forgotten
from mastodon_pipeline.usage.inputs.hour_records import hour_records
from mastodon_pipeline.usage.tables.building import write_rows
from mastodon_pipeline.usage.tables.hourly import TOOTS, WHOLE


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
class HourInputs:
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


class HourMaker:
    """Makes hours that are behind; what it was made from is remembered with each."""

    def __init__(self, lake: Lake, directory: Path) -> None:
        """`directory`: where local files are written."""
        self._lake, self._directory = lake, directory
        self._made: dict[datetime, tuple[object, LiveHour]] = {}
        """By hour: what it was made from, and the result."""
        self._known: dict[datetime, set[str]] = {}
        """By hour: the landed files in `known_record`."""
        lake.connection.execute(query("usage/live/known_record"))
        lake.forgotten.prepare()

    def make(
        self,
        hour: datetime,
        inputs: HourInputs,
        tail_records: str | None,
        previous: LiveHour | None,
    ) -> LiveHour:
        """Bring an hour up to date; what it was made from before is not made again.

        `tail_records`: what tells the tail's records of the hour from others; `previous`: the hour
        before, if it was made in the same cut. Raises RecordsGone if removed records are needed and
        gone, and duckdb.Error if the object store failed while a file was read.
        """
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
            inputs = HourInputs(rest, inputs.table, inputs.built, inputs.removed)
            live = self._make_now(hour, inputs, tail_records, previous)
        self._made[hour] = (made_from, live)
        return live

    def forget_all_but(self, made: Mapping[datetime, LiveHour]) -> None:
        """Forget the hours that are not behind any more."""
        for hour in self._known.keys() - made.keys():
            self._connection.execute("DELETE FROM known_record WHERE hour = ?", [hour])
            del self._known[hour]
        self._made = {hour: self._made[hour] for hour in made}

    def new_file(self) -> str:
        """Return the path of a new local file: DuckDB may cache what one of a name held."""
        return str(self._directory / f"{uuid4().hex}.parquet")

    def _make_now(
        self,
        hour: datetime,
        inputs: HourInputs,
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
            write_rows(self._lake, TOOTS, path, {"raw_files": list(raw_files), **values, **WHOLE})
        return path

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
