"""The lake as Dagster's resource `lake`."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import duckdb
from dagster_duckdb import DuckDBResource

from mastodon_pipeline.lake.connection import LAKE_CONFIG, prepare_lake
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import load_settings

STANDING_LAKE_SECONDS = 10.0
"""How long to wait for another evaluation of the same sensor."""
COMPLETE_EVERY_SECONDS = 30.0
"""How often the whole newest day of landed files is listed; in between, what follows the newest."""
MOST_LOADED_GROUPS = 20
"""Of the index of landed files: a sweep through a long history would load all of it."""
STANDING_LAKE_MEMORY = "512MB"
"""Small work only, in a process whose memory nobody else gets back; more is spilled to disk."""


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

    @contextmanager
    def standing(self) -> Iterator[Lake]:
        """Open the lake, or go on with the one that this process left open.

        For a sensor, whose code server lives long: opening takes as long as a small query, and the
        open lake remembers what has landed. It is opened again in each new hour, after an error
        in the body, if the settings have changed, and before it holds a long history.

        Raises as `open` does, and TimeoutError if another thread uses it for too long.
        """
        with _STANDING.use(self) as lake:
            yield lake


class _Standing:
    """The lake that this process leaves open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._opened: ExitStack | None = None
        self._lake: Lake | None = None
        self._key: tuple[object, ...] = ()

    @contextmanager
    def use(self, resource: LakeResource) -> Iterator[Lake]:
        if not self._lock.acquire(timeout=STANDING_LAKE_SECONDS):
            raise TimeoutError("another evaluation of the sensor goes on")
        try:
            hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
            key = (type(resource), resource.model_dump_json(), load_settings(), hour)
            if self._lake is None or key != self._key:
                self._close(None)
                self._opened = ExitStack()
                self._lake, self._key = self._opened.enter_context(resource.open()), key
                self._lake.landed.complete_every_seconds = COMPLETE_EVERY_SECONDS
                self._lake.connection.execute(f"SET memory_limit = '{STANDING_LAKE_MEMORY}'")
            try:
                yield self._lake
            except BaseException as error:
                self._close(error)
                raise
            if self._lake.landed.loaded_groups > MOST_LOADED_GROUPS:
                self._close(None)
        finally:
            self._lock.release()

    def _close(self, error: BaseException | None) -> None:
        opened, self._opened, self._lake = self._opened, None, None
        if opened is not None:
            opened.__exit__(type(error) if error else None, error, None)


_STANDING = _Standing()

LAKE = LakeResource()
"""The resource of every stage: merging their definitions takes one object under one key. Sensors
use it without taking a resource, see `event_log.reuse_instance`."""
