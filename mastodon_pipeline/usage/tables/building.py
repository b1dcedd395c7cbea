"""Writes a partition of a table: one query, one file.

Building again changes only what newly landed files change, so any build may be repeated,
interrupted or run twice at once: an object is replaced whole, and readers see the old or the new.

What a count means: *public top-level toots that a configured server listed while it was listened
to*. Mastodon's public feeds leave out replies to others, boosts and unlisted posts.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.tables.table import Partition, Table


def write_partition(
    lake: Lake, table: Table[Partition], path: str, values: Mapping[str, object]
) -> int:
    """Write a file by the table's query, with its parameters and `values`; return its rows."""
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
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
    rows = lake.connection.read_parquet(path, hive_partitioning=False).limit(limit)
    for row in rows.select(*names).fetchall():
        yield dict(zip(names, row, strict=True))
