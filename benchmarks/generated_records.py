"""Records for benchmarks of the usage stage: as many as wanted, always the same, by DuckDB."""

from datetime import datetime
from pathlib import Path

import duckdb

QUERY = Path(__file__).with_suffix(".sql").read_text()


def write_records(
    connection: duckdb.DuckDBPyConnection,
    path: str,
    *,
    start: datetime,
    days: float,
    toots: int,
    first: int = 0,
    last: int | None = None,
    by_hour: bool = False,
) -> None:
    """The records of the toots `first` to `last` (without it) of `toots` in `days` from `start`.

    Into one Parquet file; with `by_hour` into the folders of their hours below `path`, as a sink
    does. See `generated_records.sql` for what they are like.
    """
    values = {
        "start": start,
        "days": days,
        "toots": toots,
        "first": first,
        "last": toots if last is None else last,
    }
    records = connection.sql(QUERY, params=values)
    if by_hour:
        records = records.select("*, strftime(created_at, '%Y-%m-%d-%H') AS created_at_hour")
        records.write_parquet(
            path,
            compression="zstd",
            partition_by=["created_at_hour"],
            append=True,
        )
    else:
        records.write_parquet(path, compression="zstd")
