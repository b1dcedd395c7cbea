"""Dagster's runs and schedules in SQLite, through engines that stay open.

Named in `infra/dagster/dagster.yaml`. Dagster's own storages make a new engine for each query,
which plans the statement again: 1 of 3 ms of CPU, a dozen times for each tick and heartbeat. Files
and tables are the same, so either storage reads the other's.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._serdes import ConfigurableClassData


class _OpenEngine:
    """Connects by one engine. Connections are closed after each use, as Dagster does."""

    _conn_string: str

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what `dagster.yaml` gives it: the directory of Dagster's instance."""
        return {"home": dg.StringSource}

    @cached_property
    def _engine(self) -> db.Engine:
        return db.create_engine(self._conn_string, poolclass=db.pool.NullPool)

    @contextmanager
    def connect(self) -> Iterator[db.Connection]:
        """Open a transaction."""
        with self._engine.begin() as connection:
            yield connection


class OpenRunStorage(_OpenEngine, SqliteRunStorage):
    """Dagster's runs, and its key-value store."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "OpenRunStorage":
        """Return the storage of the instance in `home`, in the file of Dagster's own."""
        return cls.from_local(f"{Path(config_value['home'], 'history')}", inst_data)


class OpenScheduleStorage(_OpenEngine, SqliteScheduleStorage):
    """The states and ticks of sensors and schedules."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "OpenScheduleStorage":
        """Return the storage of the instance in `home`, in the file of Dagster's own."""
        storage = cls.from_local(f"{Path(config_value['home'], 'schedules')}", inst_data)
        assert isinstance(storage, OpenScheduleStorage)
        return storage
