"""The lake's tables by name, for whoever asks in SQL: a view each, over all of its files.

Views read the files when they are queried, so they are always current, and nobody is locked out.
The folders' names are columns too (`day`, and of `toots` the `hour`): a query that names a day
reads that day's files alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager

import duckdb

from mastodon_pipeline.landing.bucket import object_store_errors, s3_client
from mastodon_pipeline.landing.lake import connect_lake
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage import coverage
from mastodon_pipeline.usage.layout import Layout
from mastodon_pipeline.usage.sql import query
from mastodon_pipeline.usage.tables import DAILY_TABLES

__all__ = ["create_views", "open_views", "table_folders"]


@contextmanager
def open_views(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
    """An in-memory DuckDB with a view for every table that the settings' bucket has.

    The object store's keys cannot be read back from it: DuckDB redacts secrets, and refuses to be
    told otherwise while it runs.

    Raises SettingsError where there are no credentials, and LandingError where the object store
    does not answer or has no such bucket.
    """
    layout = Layout.of(settings)
    with closing(s3_client(settings)) as s3, object_store_errors(settings):
        present = {
            table: folder
            for table, folder in table_folders(layout).items()
            if s3.list_objects_v2(
                Bucket=settings.s3_bucket,
                Prefix=folder.removeprefix(f"{layout.root}/"),
                MaxKeys=1,
            ).get("KeyCount")
        }
    with closing(connect_lake(settings)) as connection:
        create_views(connection, present)
        yield connection


def table_folders(layout: Layout) -> dict[str, str]:
    """Every table, and the prefix below which its files are."""
    usage = ("toots_per_server_per_hour", *DAILY_TABLES, coverage.TABLE)
    return {
        "toots": f"{layout.root}/toots/",
        **{table: f"{layout.root}/usage/{table}/" for table in usage},
    }


def create_views(connection: duckdb.DuckDBPyConnection, folders: Mapping[str, str]) -> None:
    """A view for each of these tables, and `mastodon_toot` where there are `toots`."""
    for table, folder in folders.items():
        files = connection.read_parquet(f"{folder}**/*.parquet", hive_partitioning=True)
        files.create_view(table)
    if "toots" in folders:
        connection.execute(query("mastodon_toot"))
