"""Writes a partition of a table: one query, one file.

Building again changes only what newly landed files change, so any build may be repeated,
interrupted or run twice at once: an object is replaced whole, readers see the old or the new, and
what was made from older input never replaces what was made from newer (`lake.replacing`).

What a count means: *public top-level toots that a configured server listed while it was listened
to*. Mastodon's public feeds leave out replies to others, boosts and unlisted posts.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.usage.tables.table import BuiltPartition, Partition, Table


def build_partition(
    lake: Lake,
    table: Table[Partition],
    path: str,
    list_inputs: Callable[[], Sequence[StoredFile]],
    values: Callable[[Sequence[StoredFile]], Mapping[str, object]],
    written: Sequence[StoredFile] = (),
) -> BuiltPartition:
    """Build a partition's file from one version of its input.

    `values` returns the query's parameters for the listed input, beside the table's own. `written`:
    the input, if this process has just put it there.

    Raises TableError if the input, or the file, is replaced again and again meanwhile.
    """

    def make(inputs: Sequence[StoredFile], local: str) -> BuiltPartition:
        return BuiltPartition(path, write_rows(lake, table, local, values(inputs)), len(inputs))

    return replace_file(lake, path, make, list_inputs, written)


def build_from_toots(lake: Lake, table: Table[datetime], hour: datetime) -> BuiltPartition:
    """Build an hour of a table that is made from the hour's `toots`. `hour`: its start, UTC.

    Raises TableError if these have not been built.
    """
    toots = lake.layout.toots(hour)

    def values(inputs: Sequence[StoredFile]) -> Mapping[str, object]:
        if not inputs:
            raise TableError(
                f"the toots of {hour:%Y-%m-%d %H:%M} UTC have not been built; materialize them too:"
                f" --select toots,{table.name} --partition {hour:%Y-%m-%d-%H:%M}"
            )
        read = lake.written.read(inputs[0])
        return {
            "toots_files": [lake.empty_record, read],
            "hour_start": hour,
            # Passed on: it identifies the landed files that the counts are made from.
            "built_from": lake.built_from([read]).get(read, ""),
        }

    path = table.path(lake.layout, hour)
    written = lake.written.versions(toots)
    return build_partition(lake, table, path, lambda: lake.parquet_files(toots), values, written)


def keep_rows(
    lake: Lake, path: str, list_inputs: Callable[[], Sequence[StoredFile]]
) -> BuiltPartition:
    """Leave a partition's rows as they are, as if they were made from the input as it is now.

    Raises as `build_partition` does.
    """

    def make(inputs: Sequence[StoredFile], local: str) -> BuiltPartition:
        values = {"table_file": path, "built_from": fingerprint(inputs), "path": local}
        row = lake.connection.execute(query("usage/tables/same_rows"), values).fetchone()
        return BuiltPartition(path, int(row[0]) if row else 0, len(inputs))

    return replace_file(lake, path, make, list_inputs)


def write_rows(lake: Lake, table: Table[Partition], path: str, values: Mapping[str, object]) -> int:
    """Write a local file by the table's query, with its parameters and `values`; return its rows.

    In place of what is there: a partition's own file is for `replace_file` to put there.
    """
    row = lake.connection.execute(
        query(table.query), {**table.parameters(), **values, "path": path}
    ).fetchone()
    return int(row[0]) if row else 0


def count_rows(lake: Lake, path: str) -> int:
    """Return the number of rows of a table's file."""
    row = lake.connection.read_parquet(path).count("*").fetchone()
    return int(row[0]) if row else 0


def first_rows(
    lake: Lake, table: Table[Partition], path: str, limit: int = 10
) -> Iterator[dict[str, object]]:
    """Read a file's first rows, by column, without the columns that are not for logs."""
    names = [column.name for column in table.columns if column.previewed]
    values = {"file": lake.written.last(path), "names": names, "most": limit}
    rows = lake.connection.execute(query("usage/tables/first_rows"), values)
    columns = [column[0] for column in rows.description or ()]
    for row in rows.fetchall():
        yield dict(zip(columns, row, strict=True))
