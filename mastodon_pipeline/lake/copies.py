"""Local copies of landed records, for a process that would read the same files again and again.

* The running hour gets a file with each commit of the sink. Without copies each build would fetch
  all of them; with copies only those that are new to this process, since a landed file never
  changes.
* What lands after an outage, or is replayed, holds records of many hours in one file. A run that
  builds a range of hours would read all of it for each; with copies it is read once, and divided.

A copy has the hour's records from exactly the versions that are listed: if one of them is removed
or replaced, the copy is made again, or the landed files are read. So a query of copies sees what a
query of the landed files themselves would, and a build from them is as complete as any.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

import duckdb

from mastodon_pipeline.lake.contents import columns_of_other_types
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.queries import query

HOURS = 2
"""Copies that stay, the last used ones: of the running hour, and of the one before."""
MOST_BYTES = 32_000_000
"""Of the landed files that are divided: 300,000 records, ten times as many bytes in memory."""

ByHour = Mapping[datetime, Sequence[StoredFile]]


@dataclass(frozen=True, slots=True)
class _Copy:
    path: Path
    versions: frozenset[tuple[str, str]]
    """Path and etag of the landed files whose records it has."""


class _Divided(NamedTuple):
    """The records of an hour, by themselves."""

    versions: frozenset[tuple[str, str]]
    paths: tuple[str, ...]


class RecordCopies:
    """The copies of a lake; it makes none unless they are `in_use`, or `of_range`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, empty_record: str) -> None:
        self._connection, self._empty_record = connection, empty_record
        self._copies: dict[datetime, _Copy] = {}
        """By hour, the last used one last."""
        self._in_use = False
        self._list_range: Callable[[], ByHour] | None = None
        self._range: dict[datetime, _Divided] = {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Read copies within the body; those of an earlier body are still there."""
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False

    @contextmanager
    def of_range(self, landed: Callable[[], ByHour]) -> Iterator[None]:
        """Divide the files of a range of hours when one of them is first asked for in the body.

        `landed` lists these hours' files. They are left undivided if hardly any holds records of
        more than one hour, or if they are large.
        """
        self._list_range = landed
        try:
            yield
        finally:
            self._list_range = None
            for divided in self._range.values():
                for path in divided.paths:
                    Path(path).unlink(missing_ok=True)
            self._range = {}

    def paths(self, hour: datetime, landed: Sequence[StoredFile]) -> tuple[str, ...]:
        """Return the files to read for an hour's records: a copy, or the landed files themselves.

        These if a copy cannot be made of them: whoever reads them finds out which is damaged.
        """
        original = tuple(file.path for file in landed)
        if not landed:
            return original
        versions = _versions(landed)
        if self._list_range is not None:
            by_hour, self._list_range = self._list_range(), None
            # If one is damaged, whoever reads them one by one finds out which.
            with suppress(duckdb.Error, UnicodeDecodeError):
                self._range = self._divided(by_hour)
        divided = self._range.get(hour)
        if divided is not None and divided.versions == versions:
            return divided.paths
        if not self._in_use:
            return original
        copy = self._copies.pop(hour, None)
        if copy is not None and not copy.versions <= versions:
            copy.path.unlink(missing_ok=True)
            copy = None
        if copy is None or copy.versions != versions:
            try:
                copy = self._extended(hour, copy, landed, versions)
            except (duckdb.Error, UnicodeDecodeError):
                return original
        self._copies[hour] = copy
        while len(self._copies) > HOURS:
            self._copies.pop(next(iter(self._copies))).path.unlink(missing_ok=True)
        return (str(copy.path),)

    def _divided(self, by_hour: ByHour) -> dict[datetime, _Divided]:
        sizes = {file.path: file.size for files in by_hour.values() for file in files}
        readings = sum(map(len, by_hour.values()))
        if readings < 2 * len(sizes) or sum(sizes.values()) > MOST_BYTES:
            return {}
        read = [self._empty_record, *sizes]
        if columns_of_other_types(self._connection, read):
            return {}  # One file would spoil the records of all others.
        folder = Path(self._empty_record).with_name(f"range-{uuid4().hex}")
        values = {
            "read": read,
            "first": min(by_hour),
            "last": max(by_hour),
            "folder": str(folder),
        }
        self._connection.execute(query("lake/split_records"), values)
        return {
            hour: _Divided(
                _versions(files),
                tuple(map(str, sorted(folder.glob(f"split_hour={hour:%Y-%m-%d-%H}/*.parquet")))),
            )
            for hour, files in by_hour.items()
        }

    def _extended(
        self,
        hour: datetime,
        copy: _Copy | None,
        landed: Sequence[StoredFile],
        versions: frozenset[tuple[str, str]],
    ) -> _Copy:
        known = copy.versions if copy else frozenset()
        new = [file.path for file in landed if (file.path, file.etag) not in known]
        # A new name each time: DuckDB may cache what a file of the same name held.
        path = Path(self._empty_record).with_name(f"records-{uuid4().hex}.parquet")
        read = [self._empty_record, *([str(copy.path)] if copy else []), *new]
        try:
            self._connection.execute(
                query("lake/copy_records"), {"read": read, "hour": hour, "path": str(path)}
            )
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        finally:
            if copy is not None:
                copy.path.unlink(missing_ok=True)
        return _Copy(path, versions)


def _versions(files: Sequence[StoredFile]) -> frozenset[tuple[str, str]]:
    return frozenset((file.path, file.etag) for file in files)
