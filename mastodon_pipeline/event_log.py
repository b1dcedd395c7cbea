"""Dagster's event log in SQLite, written in batches; named in `infra/dagster/dagster.yaml`.

A run of a range of partitions reports each of them twice: planned and materialized. Dagster's
SQLite storage writes each event alone, each time with a new engine, which plans every statement
again: 11 ms of CPU an event, two thirds of what building a week of hours took. Here the events of a
batch share a transaction, and engines stay open: 1 ms. Files and tables are the same, so either
storage reads the other's.

See: DAGSTER_EVENT_BATCH_SIZE in `dagster/_core/instance/utils.py`.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as db
from dagster._core.event_api import PartitionKeyFilter
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecord
from dagster._core.storage.event_log import SqlEventLogStorage, SqliteEventLogStorage
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, database_name, postgres_url
from mastodon_pipeline.errors import HistoryUnavailable

BATCH_EVENTS = 1000
"""The most events in one transaction: 1 MB, written in a fifth of a second."""
KEPT_ENGINES = 4
"""Of databases of runs, the last used ones, beside that of the index."""
_CHECK_INDEXES = (
    "CREATE INDEX IF NOT EXISTS mastodon_checks ON asset_check_executions (asset_key, check_name)",
    "CREATE INDEX IF NOT EXISTS mastodon_checks_by_status"
    " ON asset_check_executions (asset_key, check_name, execution_status)",
)
"""Dagster's indexes do not lead to a check's newest results: it reads and sorts all of them, for
each tick of `alert_sensor` and each page of an asset. Each of these ends with the id, as every
index of SQLite does."""


@contextmanager
def open_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """Open Dagster's instance in a directory, which its `dagster.yaml` calls DAGSTER_HOME.

    Raises HistoryUnavailable if its database does not answer, now or while it is used.
    """
    os.environ["DAGSTER_HOME"] = str(home)
    url = postgres_url()
    if url is None:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
        return
    from dagster_postgres.utils import DagsterPostgresException

    os.environ[POSTGRES_VARIABLE] = url
    try:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            yield instance
    except (DagsterPostgresException, db.exc.OperationalError, db.exc.ArgumentError) as error:
        cause = error.__cause__ if isinstance(error, DagsterPostgresException) else error
        reason = str(getattr(cause, "orig", None) or cause or error).splitlines()[0]
        raise HistoryUnavailable(
            f"{database_name(url)}, which has Dagster's history, does not answer ({reason}): start"
            f" it, or correct {POSTGRES_VARIABLE}"
        ) from None


def reuse_instance(context: dg.SensorEvaluationContext) -> None:
    """Let a tick use the instance that the last tick in this process has opened.

    Dagster would open one for each tick, and read the history of its tables' revisions twice for
    that, 24 ms of CPU, every five seconds and oftener. It would do so for a resource that a sensor
    takes, too, so our sensors take none. A context made by a test has the test's instance.
    """
    ref = context.instance_ref
    if ref is None or context._instance is not None:
        return
    with _LAST_TICK.lock:
        if _LAST_TICK.instance is None or _LAST_TICK.instance.get_ref() != ref:
            _LAST_TICK.instance = dg.DagsterInstance.from_ref(ref)
        context._instance = _LAST_TICK.instance


class _LastTick:
    """The instance that this process leaves open."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.instance: dg.DagsterInstance | None = None


_LAST_TICK = _LastTick()


def stored_checks(instance: dg.DagsterInstance) -> list[dg.AssetCheckKey]:
    """List the asset checks that have a result, in SQLite or PostgreSQL, whoever defined them."""
    storage = instance.event_log_storage
    assert isinstance(storage, SqlEventLogStorage)
    columns = AssetCheckExecutionsTable.c
    statement = db.select(columns.asset_key, columns.check_name).distinct()
    with storage.index_connection() as connection:
        rows = connection.execute(statement).fetchall()
    keys = [(dg.AssetKey.from_db_string(asset), name) for asset, name in rows]
    return [dg.AssetCheckKey(asset, name) for asset, name in keys if asset is not None]


class BatchedEventLogStorage(SqliteEventLogStorage):
    """Dagster's SQLite event log, which also writes many events at once."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, db.Engine] = OrderedDict()
        # Dagster writes in batches only where this is set.
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", f"{BATCH_EVENTS}")
        super().__init__(base_dir, inst_data)

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Return what `dagster.yaml` gives it: the directory of Dagster's instance."""
        return {"home": dg.StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Any
    ) -> "BatchedEventLogStorage":
        """Return the storage of the instance in `home`, in the files of Dagster's own."""
        return cls(f"{Path(config_value['home'], 'history', 'runs')}", inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[db.Connection]:
        """Open a transaction on the database of a run, or on the index."""
        with self._db_lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> db.Engine:
        engine = self._engines.get(shard)
        if engine is None:
            engine = self._engines[shard] = db.create_engine(
                self.conn_string_for_shard(shard),
                # Closed after each use, as Dagster does: the UI's live logs watch the file, which
                # SQLite writes when the last connection to it is closed.
                poolclass=db.pool.NullPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS},
            )
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            if shard == INDEX_SHARD_NAME:
                with engine.begin() as connection:
                    for statement in _CHECK_INDEXES:
                        connection.execute(db.text(statement))
            self._initialized_dbs.add(shard)
        self._engines.move_to_end(shard)
        for other in [name for name in self._engines if name != INDEX_SHARD_NAME][:-KEPT_ENGINES]:
            self._engines.pop(other).dispose()
        return engine

    def _has_asset_key_index_cols_on_connection(self, conn: db.Connection) -> bool:
        """Return True: every home that this project made has these columns (Dagster 0.14)."""
        return True

    def get_latest_asset_check_execution_by_key(
        self,
        check_keys: Sequence[dg.AssetCheckKey],
        partition_filter: PartitionKeyFilter | None = None,
    ) -> Mapping[dg.AssetCheckKey, AssetCheckExecutionRecord]:
        """Return the newest result of each check that has any.

        Dagster's statement for all of them at once reads every result there ever was.
        """
        results = {
            key: self.get_asset_check_execution_history(key, 1, partition_filter=partition_filter)
            for key in check_keys
        }
        return {key: newest[0] for key, newest in results.items() if newest}

    def store_event_batch(self, events: Sequence[dg.EventLogEntry]) -> None:
        """Store events of one run: in a transaction of its database, and one of the index.

        Events of checks are stored one by one; a run has few.
        """
        of_assets = [event for event in events if event.dagster_event_type in ASSET_EVENTS]
        others = [event for event in events if event.dagster_event_type not in ASSET_EVENTS]
        if of_assets:
            rows = [self._event_to_row(event) for event in of_assets]
            insert = SqlEventLogStorageTable.insert()
            with self.run_connection(of_assets[0].run_id) as connection:
                connection.execute(insert, rows)
            with self.index_transaction() as connection:
                # One by one for their ids: RETURNING needs SQLite 3.35. They share the plan.
                keys = [connection.execute(insert, row).inserted_primary_key for row in rows]
                ids = [int(key[0]) for key in keys if key is not None]
                self._store_asset_event_tags(connection, of_assets, ids)
                # An asset's row in the index shows its last event of each type alone.
                last = {
                    (event.get_dagster_event().asset_key, event.dagster_event_type): number
                    for number, event in enumerate(of_assets)
                }
                for number in sorted(last.values()):
                    self._store_asset_event(connection, of_assets[number], ids[number])
        for event in others:
            self.store_event(event)
