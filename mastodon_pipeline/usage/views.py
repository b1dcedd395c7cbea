"""The lake's tables by name, for queries in SQL: a view each, over all of its files.

Views read the files when they are queried, so they are always current, and lock nobody out. The
folders' names are columns too (`day`, and of `toots` the `hour`): a query that names a day reads
only that day's files.

Nothing is listed before it is queried. To create a view, DuckDB reads the files that it names; so
it names a variable, which holds the table's first file then, and all of its files afterwards.

See: https://duckdb.org/docs/stable/sql/statements/set_variable
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager

import duckdb

from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.languages import language_names

_FOLDERS = ("'day': DATE", "'day': DATE, 'hour': BIGINT")
"""The columns that folders name, of other tables and of `toots`. If DuckDB has to guess, `hour=03`
is text and `hour=15` a number."""


@contextmanager
def open_views(
    settings: Settings, *, live: bool = True, say: Callable[[str], None] | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Connect as `connect_views` does, and close the connection when the body ends or fails."""
    with closing(connect_views(settings, live=live, say=say)) as connection:
        yield connection


def connect_views(
    settings: Settings | None = None,
    *,
    live: bool = True,
    say: Callable[[str], None] | None = None,
) -> duckdb.DuckDBPyConnection:
    """Return an in-memory DuckDB with a view for every table in the bucket; the caller closes it.

    And in the schema `live` a view of the same name and columns for all but `server_coverage`, with
    every toot that Kafka had acknowledged half a second before the query (`usage.live`). Kafka is
    asked when a statement mentions one of them. What they cannot count for a while, because the
    sink is far behind, `say` gets as a line, else it is a Python warning. With `live` false, there
    is no such schema, and the connection is there 0.2 s earlier.

    For notebooks and scripts; `mastodon-pipeline sql` opens the same. The settings are read from
    the environment unless given. The object store's keys cannot be read back from the connection:
    DuckDB redacts secrets, and refuses to change that while it runs. But its user may write what
    the keys may write (`COPY ... TO 's3://...'`): give readers keys that only read.

    Raises:
        SettingsError: there are no credentials.
        ObjectStoreUnavailable: the object store does not answer or has no such bucket.
    """
    settings = settings or load_settings()
    layout = Layout.of(settings)
    connection = connect_lake(settings)

    def first_file(folder: str) -> str | None:
        # DuckDB lists one page for it; boto3 would take half a second of CPU to start.
        statement = "SELECT file FROM glob($files) LIMIT 1"
        row = connection.execute(statement, {"files": f"{folder}**/*.parquet"}).fetchone()
        return None if row is None else str(row[0])

    try:
        with _failing_early(connection, settings):
            create_views(connection, table_folders(layout), first_file)
        if live:
            from mastodon_pipeline.usage.live.views import create_live_views, open_live_tables

            create_live_views(connection, open_live_tables(settings), say)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _failing_early(connection: duckdb.DuckDBPyConnection, settings: Settings) -> Iterator[None]:
    """Retry once instead of for half a minute, and let boto3 say what is wrong, if it is."""
    row = connection.execute("SELECT current_setting('http_retries')").fetchone()
    connection.execute("SET http_retries = 1")
    try:
        yield
    except duckdb.Error:
        with object_store_errors(settings), closing(s3_client(settings)) as s3:
            s3.list_objects_v2(Bucket=settings.s3_bucket, MaxKeys=1)
        raise
    connection.execute(f"SET http_retries = {row[0] if row else 5}")


def table_folders(layout: Layout) -> dict[str, str]:
    """Return the prefix of every table's files, by the table's name."""
    return {table.name: layout.table(table.name) for table in TABLES}


def create_views(
    connection: duckdb.DuckDBPyConnection,
    folders: Mapping[str, str],
    first_file: Callable[[str], str | None],
) -> None:
    """Create a view for each of these tables that has a file, and `mastodon_toot` over `toots`.

    `first_file` returns any file in a folder, or None.
    """
    for table, folder in folders.items():
        if (file := first_file(folder)) is None:
            continue
        # Neither SET VARIABLE nor CREATE VIEW takes parameters; the names are our own.
        connection.execute(f"SET VARIABLE {table}_files = (SELECT $file)", {"file": file})
        connection.execute(
            f"CREATE VIEW {table} AS FROM read_parquet(getvariable('{table}_files'),"
            f" hive_partitioning := true, hive_types := {{{_FOLDERS[table == 'toots']}}})"
        )
        all_files = {"files": f"{folder}**/*.parquet"}
        connection.execute(f"SET VARIABLE {table}_files = (SELECT $files)", all_files)
        if table == "toots":
            names = language_names()
            values = {"codes": list(names), "names": list(names.values())}
            connection.execute(query("usage/language"), values)
            connection.execute(query("usage/mastodon_toot"))
