"""A long history in Dagster's SQLite storage, made by copying the rows of a real run.

A copy is a run of another partition, as much earlier: with another run id and another partition key
wherever these stood. Its own database, which nothing but a page of that run opens, is not made.
"""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

TABLES = {
    "history/runs/index.db": ("asset_event_tags", "asset_check_executions", "event_logs"),
    "history/runs.db": ("runs", "run_tags"),
}
EVENT_IDS = ("event_id", "evaluation_event_storage_id", "materialization_event_storage_id")
TIMES = ("start_time", "end_time")


def copy_run(home: Path, run_id: str, key: str, partitions: Mapping[str, timedelta]) -> int:
    """Copy a run of the partition `key` to others; return how many rows were written.

    `partitions`: the keys, and how much earlier each is.
    """
    copies = [
        (number, f"{uuid4()}", each, age.total_seconds())
        for number, (each, age) in enumerate(partitions.items())
    ]
    written = 0
    for name, tables in TABLES.items():
        with closing(sqlite3.connect(home / name, timeout=60)) as database, database:
            database.execute("CREATE TEMP TABLE copy (number, new_run, new_key, age)")
            database.executemany("INSERT INTO copy VALUES (?, ?, ?, ?)", copies)
            values: dict[str, str | int] = {"run_id": run_id, "key": key}
            if "event_logs" in tables:
                values |= _event_ids(database, run_id)
            for table in tables:
                written += database.execute(_statement(database, table), values).rowcount
    return written


def _event_ids(database: sqlite3.Connection, run_id: str) -> dict[str, int]:
    """Return by how much the ids of the first copy's events differ, and each further one's."""
    [(free,)] = database.execute("SELECT max(id) + 1 FROM event_logs")
    [(lowest, highest)] = database.execute(
        "SELECT min(id), max(id) FROM event_logs WHERE run_id = ?", (run_id,)
    )
    return {"first": free - lowest, "rows": highest - lowest + 1}


def _statement(database: sqlite3.Connection, table: str) -> str:
    ids = ("id", *EVENT_IDS) if table == "event_logs" else EVENT_IDS
    of_run = "run_id = :run_id"
    if table == "asset_event_tags":
        of_run = f"event_id IN (SELECT id FROM event_logs WHERE {of_run})"
    columns = [name for _, name, *_ in database.execute(f"PRAGMA table_info({table})")]
    expressions = {
        name: _copied(f'"{name}"', name, ids) for name in columns if name != "id" or name in ids
    }
    names = ", ".join(f'"{name}"' for name in expressions)
    return (
        f"INSERT INTO {table} ({names}) SELECT {', '.join(expressions.values())}"
        f" FROM copy, (SELECT * FROM {table} WHERE {of_run})"
    )


def _copied(value: str, name: str, ids: tuple[str, ...]) -> str:
    """Return what stands in a copy's column, as SQL."""
    if name in ids:
        return f"{value} + :first + :rows * number"
    if name in TIMES:
        return f"{value} - age"
    if name.endswith("timestamp"):
        return f"strftime('%Y-%m-%d %H:%M:%f000', {value}, -age || ' seconds')"
    return f"replace(replace({value}, :run_id, new_run), :key, new_key)"
