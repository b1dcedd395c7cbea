"""Opens landed files: what each holds becomes rows of `landed_file`, see `lake.landed`."""

from collections.abc import Sequence
from datetime import datetime

import duckdb

from mastodon_pipeline.lake.files import ListFiles, StoredFile
from mastodon_pipeline.lake.queries import query

FOREIGN = "not written by the sink"
"""How the reason begins if a file can be read, but its rows are no records of ours."""
BROUGHT = ("replay", "past")
"""Sources of records that a person brought from elsewhere: their post times may lie far back."""
_WORDS_OF_THE_STORE = ("HTTP", "onnection", "No files found", "Cannot open")


class Contents:
    """Reads landed files; one that is damaged is a row with an error, and stops no other."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, list_files: ListFiles, empty_record: str
    ) -> None:
        self._connection, self._list_files = connection, list_files
        self._empty_record = empty_record

    def open(self, group: str, files: Sequence[StoredFile], now: datetime) -> None:
        """Add what the files hold to the table, as of a group of the index, `now` (UTC).

        Files that were removed since they were listed are left out. Raises duckdb.Error if the
        object store fails: that says nothing about a file.
        """
        if not files:
            return
        try:
            self._insert(group, files, now)
        except (duckdb.Error, UnicodeDecodeError) as error:
            if is_of_the_store(error):
                left = self._still_there(files)
                if len(left) == len(files):
                    raise
                self.open(group, left, now)
            elif len(files) > 1:  # which one is it?
                middle = len(files) // 2
                self.open(group, files[:middle], now)
                self.open(group, files[middle:], now)
            else:
                self._insert(group, files, now, one_line(error))

    def damage(self, path: str) -> str | None:
        """Read a file whole, and return what is wrong with it, None if nothing.

        It is read beside the empty record, as every query does, and no column's type may differ
        from the record's. Raises duckdb.Error if the object store fails.
        """
        files = [self._empty_record, path]
        try:
            self._connection.execute(query("lake/read_whole"), {"files": files}).fetchall()
            if columns := columns_of_other_types(self._connection, files):
                return f"{FOREIGN}: other types of {', '.join(columns)}"[:200]
        except (duckdb.Error, UnicodeDecodeError) as error:
            if is_of_the_store(error):
                raise
            return one_line(error)
        return None

    def _insert(
        self, group: str, files: Sequence[StoredFile], now: datetime, error: str | None = None
    ) -> None:
        values = {
            "group": group,
            "now": now,
            "error": error,
            "foreign": FOREIGN,
            "brought": list(BROUGHT),
            "paths": [file.path for file in files],
            "etags": [file.etag for file in files],
            "sizes": [file.size for file in files],
            "modified": [file.modified for file in files],
            "read": [self._empty_record, *(file.path for file in files if error is None)],
        }
        self._connection.execute(query("lake/index_landed_files"), values)

    def _still_there(self, files: Sequence[StoredFile]) -> list[StoredFile]:
        folders = {file.path.rpartition("/")[0] for file in files}
        listed = {file.path for folder in folders for file in self._list_files(f"{folder}/")}
        return [file for file in files if file.path in listed]


def columns_of_other_types(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str]
) -> list[str]:
    """List the record's columns that are text in the files, and something else in the first one.

    That is the empty record. Other numbers become the record's; a text takes the place of
    everything. Raises duckdb.Error if one cannot be read.
    """
    read, wanted = (
        connection.read_parquet(paths, union_by_name=True, hive_partitioning=False)
        for paths in ([*files], [files[0]])
    )
    types = dict(zip(read.columns, map(str, read.types), strict=True))
    return [
        name
        for name, kind in zip(wanted.columns, map(str, wanted.types), strict=True)
        if types[name] == "VARCHAR" != kind
    ]


def is_of_the_store(error: Exception) -> bool:
    """Return whether an error says that a file could not be fetched, not that it is damaged."""
    if isinstance(error, duckdb.HTTPException):
        return True
    return isinstance(error, duckdb.IOException) and any(
        word in str(error) for word in _WORDS_OF_THE_STORE
    )


def one_line(error: Exception) -> str:
    """Return what an error says, on one line of at most 200 characters."""
    return " ".join(str(error).split())[:200]
