"""Empty DuckDB databases in memory, of an instance that a test process starts once.

To start one takes 7 ms of CPU, as long as to build a small table, and hundreds of tests open a
lake. Each has a database and a connection of its own: tables and views, temporary ones, variables
and the time zone are its own too. What DuckDB sets for the whole instance is shared.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count

import duckdb

_numbers = count()


@contextmanager
def memory_database(threads: int = 1) -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect to an empty database, in UTC. More threads need an instance of their own."""
    if threads > 1:
        with _instance(threads) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        return
    name = f"memory_{next(_numbers)}"
    with _shared_instance().cursor() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET threads = 1")  # a test may have asked for more
        connection.execute(f"ATTACH ':memory:' AS {name}")
        connection.execute(f"USE {name}")
        try:
            yield connection
        finally:
            connection.execute("USE memory")
            connection.execute(f"DETACH {name}")


@cache
def _shared_instance() -> duckdb.DuckDBPyConnection:
    return _instance(1)


def _instance(threads: int) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(":memory:", config={"threads": threads})
    # It tells versions of a local file apart by their times of change, which are too coarse.
    connection.execute("SET enable_external_file_cache = false")
    return connection
