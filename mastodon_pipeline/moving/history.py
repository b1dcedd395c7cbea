"""Copies Dagster's history from its SQLite files into an empty PostgreSQL database.

Runs, events, materializations, checks, ticks with their cursors, and the key-value rows that
listeners and sensors keep their state in. All or nothing: it is one transaction. The files stay.

See: `event_ids` for what cannot stay as it is.
"""

import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as db
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageMetadata,
    SqlEventLogStorageTable,
)
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, database_name
from mastodon_pipeline.errors import HistoryUnavailable, MoveError
from mastodon_pipeline.moving.event_ids import EventIds, Position, new_event_ids

SILENCE_SECONDS = 45.0
"""How old the last heartbeat of a daemon is once it has stopped: a running one sends each 30 s."""
_ROWS = 1000
"""In one statement."""
_POINTER = "dagster/input_event_pointer/"
_NOT_COPIED = frozenset({"secondary_indexes"})
"""What a new database knows of itself."""
_EVENT_COLUMNS = tuple(column.name for column in SqlEventLogStorageTable.columns)

Say = Callable[[str], object]


def copy_history(home: Path, url: str, say: Say) -> int:
    """Copy the history in a Dagster home into the database; return the number of runs.

    Raises:
        MoveError: there is nothing to copy, Dagster still runs, or the database has a history.
        HistoryUnavailable: the database does not answer.
    """
    runs_file, ticks_file = home / "history" / "runs.db", home / "schedules" / "schedules.db"
    events = home / "history" / "runs"
    if not runs_file.exists() or not (events / "index.db").exists():
        raise MoveError(f"{home} holds no history in SQLite files")
    await_silence(runs_file, say)
    name = database_name(url)
    try:
        DagsterPostgresStorage(url)  # It creates the tables.
        engine = db.create_engine(url, poolclass=NullPool)
        with engine.begin() as target:
            _refuse_used(target, name)
            _refuse_other_version(target, runs_file)
            _copy_tables(RunStorageSqlMetadata, runs_file, target)
            _copy_tables(ScheduleStorageSqlMetadata, ticks_file, target)
            say("copying events")
            _copy_events(events, target)
            for metadata in _ALL:
                for table in metadata.sorted_tables:
                    _continue_ids(target, table)
            target.execute(db.text("ANALYZE"))
            return int(target.scalar(db.text("SELECT count(*) FROM runs")) or 0)
    except (SQLAlchemyError, DagsterPostgresException) as error:
        reason = str(getattr(error, "orig", None) or error).splitlines()[0]
        raise HistoryUnavailable(f"{name}, {POSTGRES_VARIABLE}: {reason}") from None


def await_silence(runs_file: Path, say: Say, silence_seconds: float = SILENCE_SECONDS) -> None:
    """Return once no daemon can be running any more; raises MoveError if one still is."""
    first = _last_heartbeat(runs_file)
    if time.time() - first < silence_seconds:
        say(f"making sure that Dagster has stopped ({silence_seconds:.0f} s)")
    while time.time() - first < silence_seconds:
        time.sleep(1)
        if _last_heartbeat(runs_file) > first:
            raise MoveError(
                "Dagster runs, and writes history meanwhile: stop it first (make down), then copy,"
                " and start it with the setting (make up)"
            )


def _last_heartbeat(runs_file: Path) -> float:
    with closing(_open(runs_file)) as source:
        [(last,)] = source.execute(
            "SELECT strftime('%s', max(timestamp)) FROM daemon_heartbeats"
        ).fetchall()
    return float(last or 0)


_ALL = (RunStorageSqlMetadata, ScheduleStorageSqlMetadata, SqlEventLogStorageMetadata)


def _refuse_used(target: db.Connection, name: str) -> None:
    for table in ("runs", "event_logs", "job_ticks"):
        if rows := target.scalar(db.text(f"SELECT count(*) FROM {table}")):
            raise MoveError(
                f"{name} already has a history ({rows:,} rows in {table}), and a copy needs an"
                " empty database: nothing was copied"
            )
    for metadata in _ALL:
        for table in reversed(metadata.sorted_tables):
            if table.name not in _NOT_COPIED:
                target.execute(table.delete())  # what Dagster wrote when it made the tables


def _refuse_other_version(target: db.Connection, runs_file: Path) -> None:
    wanted = target.scalars(db.text("SELECT version_num FROM alembic_version")).all()
    with closing(_open(runs_file)) as source:
        have = [row[0] for row in source.execute("SELECT version_num FROM alembic_version")]
    if set(have) != set(wanted):
        raise MoveError(
            f"{runs_file} is of another version of Dagster: run `dagster instance migrate` with"
            f" {POSTGRES_VARIABLE} unset, then copy again"
        )


def _copy_tables(metadata: db.MetaData, file: Path, target: db.Connection) -> None:
    for table in metadata.sorted_tables:
        if table.name not in _NOT_COPIED:
            for rows in _rows(file, table):
                target.execute(table.insert(), rows)


def _rows(file: Path, table: db.Table) -> Iterator[list[dict[str, Any]]]:
    """Return a table's rows with Python's values, some at a time; none if there is no table."""
    engine = db.create_engine("sqlite://", creator=lambda: _open(file), poolclass=NullPool)
    with engine.connect() as source:
        if db.inspect(source).has_table(table.name):
            result = source.execution_options(yield_per=_ROWS).execute(db.select(table))
            for part in result.mappings().partitions():
                yield [dict(row) for row in part]


def _copy_events(directory: Path, target: db.Connection) -> None:
    index = directory / "index.db"
    # With the file of events without a run, whose name begins with the dot.
    files = [directory / name for name in sorted(_names(directory)) if name != index.name]
    ids = new_event_ids(_index(index), ((_run(file), _positions(file)) for file in files))
    _insert(target, SqlEventLogStorageTable, _events(index, ids.of_index, ids))
    for file in files:
        _insert(
            target, SqlEventLogStorageTable, _events(file, ids.of_runs.get(_run(file), {}), ids)
        )

    for table in SqlEventLogStorageMetadata.sorted_tables:
        if table is SqlEventLogStorageTable or table.name in _NOT_COPIED:
            continue
        for rows in _rows(index, table):
            target.execute(table.insert(), [_referring(table, row, ids) for row in rows])


def _referring(table: db.Table, row: dict[str, Any], ids: EventIds) -> dict[str, Any]:
    """Return a row of the index with the new ids of the events that it refers to."""
    if table is AssetKeyTable:
        row["last_materialization"] = ids.referred(row["last_materialization"])
        row["cached_status_data"] = None  # Dagster makes it again.
    if table is AssetEventTagsTable:
        row["event_id"] = ids.of_index.get(row["event_id"], row["event_id"])
        if row["key"].startswith(_POINTER) and (row["value"] or "").isdecimal():
            row["value"] = str(ids.of_index.get(int(row["value"]), row["value"]))
    if table is AssetCheckExecutionsTable:
        row["evaluation_event"] = ids.referred(row["evaluation_event"])
        for column in ("evaluation_event_storage_id", "materialization_event_storage_id"):
            row[column] = ids.of_index.get(row[column], row[column])
    return row


def _index(file: Path) -> list[tuple[str, Position]]:
    with closing(_open(file)) as source:
        rows = source.execute("SELECT run_id, id, timestamp, event FROM event_logs ORDER BY id")
        return [(run or "", Position(id, at or "", hash(text))) for run, id, at, text in rows]


def _positions(file: Path) -> list[Position]:
    with closing(_open(file)) as source:
        rows = source.execute("SELECT id, timestamp, event FROM event_logs ORDER BY id")
        return [Position(id, at or "", hash(text)) for id, at, text in rows]


def _events(file: Path, new_ids: Any, ids: EventIds) -> Iterator[dict[str, Any]]:
    with closing(_open(file)) as source:
        for values in source.execute(f"SELECT {', '.join(_EVENT_COLUMNS)} FROM event_logs"):
            row = dict(zip(_EVENT_COLUMNS, values, strict=True))
            if (new := new_ids.get(row["id"])) is not None:
                yield {**row, "id": new, "event": ids.referred(row["event"])}


def _insert(target: db.Connection, table: db.Table, rows: Iterator[dict[str, Any]]) -> None:
    part: list[dict[str, Any]] = []
    for row in rows:
        part.append(row)
        if len(part) == _ROWS:
            target.execute(table.insert(), part)
            part = []
    if part:
        target.execute(table.insert(), part)


def _continue_ids(target: db.Connection, table: db.Table) -> None:
    """Let the next row's id follow the highest one that was copied."""
    highest = target.scalar(db.select(db.func.max(table.c.id)))
    statement = db.text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :next, false)")
    target.execute(statement, {"name": table.name, "next": (highest or 0) + 1})


def _names(directory: Path) -> Sequence[str]:
    return [path.name for path in directory.iterdir() if path.name.endswith(".db")]


def _run(file: Path) -> str:
    return file.name.removesuffix(".db")


def _open(file: Path) -> sqlite3.Connection:
    """Open a file of SQLite's that is there, to read it."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=15)
