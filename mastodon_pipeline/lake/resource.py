"""The lake as Dagster's resource `lake`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import duckdb
from dagster_duckdb import DuckDBResource

from mastodon_pipeline.lake.connection import LAKE_CONFIG, prepare_lake
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import load_settings


class LakeResource(DuckDBResource):
    """Opens the lake for assets, checks, ops and sensors, and closes it when they end or fail.

    Its configuration holds no keys: they are read from the settings when a connection is opened,
    so neither run config nor the UI can show them.
    """

    database: str = ":memory:"
    connection_config: dict[str, Any] = dict(LAKE_CONFIG)

    @contextmanager
    def get_connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Open an in-memory DuckDB that reads and writes `s3://` paths, as `connect_lake` does.

        Raises SettingsError as `prepare_lake` does.
        """
        with super().get_connection() as connection:
            try:
                prepare_lake(connection, load_settings())
                yield connection
            finally:
                connection.close()  # the parent closes it only if nothing was raised

    @contextmanager
    def open(self) -> Iterator[Lake]:
        """Open the lake in the settings' bucket.

        Raises SettingsError and ObjectStoreUnavailable as `open_lake` does.
        """
        with self.get_connection() as connection, open_lake(load_settings(), connection) as lake:
            yield lake


LAKE = LakeResource()
"""The resource of every stage: merging their definitions takes one object under one key."""
