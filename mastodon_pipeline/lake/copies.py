"""Local copies of an hour's landed records, for a process that builds it again and again.

The running hour gets a file with each commit of the sink. Without copies each build would fetch all
of them; with copies only those that are new to this process, since a landed file never changes.

A copy is one Parquet file with the hour's records from exactly the versions that are listed: if
one of them is removed or replaced, the copy is made again. So a query of copies sees what a query
of the landed files themselves would, and a build from them is as complete as any.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import duckdb

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.queries import query

HOURS = 2
"""Copies that stay, the last used ones: of the running hour, and of the one before."""


@dataclass(frozen=True, slots=True)
class _Copy:
    path: Path
    versions: frozenset[tuple[str, str]]
    """Path and etag of the landed files whose records it has."""


class RecordCopies:
    """The copies of a lake; it makes none unless they are `in_use`."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, empty_record: str) -> None:
        self._connection, self._empty_record = connection, empty_record
        self._copies: dict[datetime, _Copy] = {}
        """By hour, the last used one last."""
        self._in_use = False

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Read copies within the body; those of an earlier body are still there."""
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False

    def paths(self, hour: datetime, landed: Sequence[StoredFile]) -> tuple[str, ...]:
        """Return the files to read for an hour's records: a copy, or the landed files themselves.

        These if a copy cannot be made of them: whoever reads them finds out which is damaged.
        """
        original = tuple(file.path for file in landed)
        if not self._in_use or not landed:
            return original
        versions = frozenset((file.path, file.etag) for file in landed)
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
