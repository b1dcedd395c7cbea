"""The schema `live`: the tables' views with what was acknowledged until a moment before the query.

Each view asks `live_files`, a function in Python that DuckDB calls once when it binds a statement,
for the files to read. So a cut is taken when a live view is queried, and not before: who does not
mention `live` needs no Kafka. All views in a transaction are of one cut (`txid_current`).
"""

import json
import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import RLock
from time import monotonic

import duckdb

from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.first_day import first_day_of
from mastodon_pipeline.usage.live.hours import LiveHours
from mastodon_pipeline.usage.live.tables import (
    KEPT_CUTS,
    LIVE_TABLES,
    CutFiles,
    LiveTables,
    Part,
)
from mastodon_pipeline.usage.live.tail import Tail
from mastodon_pipeline.usage.live.topic import KafkaTopic
from mastodon_pipeline.usage.tables.hourly import TOOTS
from mastodon_pipeline.usage.tables.languages import language_names
from mastodon_pipeline.usage.tables.table import Grain

SAME_CUT_SECONDS = 0.5
"""A cut serves other transactions so long: a statement is bound more than once before it runs."""

Open = Callable[[dict[str, str], Path], tuple[LiveTables, Callable[[], None]]]
"""Opens the live tables, with their empty files, in a directory; also returns what closes them."""


def create_live_views(
    connection: duckdb.DuckDBPyConnection,
    open_tables: Open,
    say: Callable[[str], None] | None = None,
    same_cut_seconds: float = SAME_CUT_SECONDS,
) -> None:
    """Create the schema `live` with its views; nothing is read, and Kafka is not asked, before a
    statement mentions one of them.

    `say` gets a line about what a cut does not count; else it is a Python warning.
    """
    source = _Source(open_tables, say or _warn, same_cut_seconds)
    connection.create_function(
        "live_files", source.files, ["VARCHAR", "VARCHAR", "BIGINT"], "VARCHAR[]"
    )
    connection.execute("CREATE SCHEMA IF NOT EXISTS live")
    for table in LIVE_TABLES:
        columns = [f'"{column.name}"::{column.type} AS "{column.name}"' for column in table.columns]
        if "day" not in (column.name for column in table.columns):
            columns.append("day::DATE AS day")
        if table is TOOTS:
            text = query("usage/live/toots")
            columns.append("hour::BIGINT AS hour")
        else:
            text = query("usage/live/table")
        counts = table.grain is Grain.HOUR and table is not TOOTS
        connection.execute(
            text.format(
                table=table.name,
                columns=", ".join(columns),
                local_columns="*, hour::DATE AS day" if counts else "*",
            )
        )
    names = language_names()
    connection.execute(
        query("usage/language"), {"codes": list(names), "names": list(names.values())}
    )
    article = query("usage/mastodon_toot")
    connection.execute(
        article.replace("VIEW mastodon_toot", "VIEW live.mastodon_toot").replace(
            "FROM toots", "FROM live.toots"
        )
    )
    source.defined = True


def open_live_tables(settings: Settings) -> Open:
    """Return what opens the live tables of the settings' bucket and topic."""

    def open_tables(
        empty: dict[str, str], directory: Path
    ) -> tuple[LiveTables, Callable[[], None]]:
        with ExitStack() as stack:
            topic = KafkaTopic(settings)
            stack.callback(topic.close)
            # Its own DuckDB: that of the views waits until it has the files.
            lake = stack.enter_context(open_lake(settings))
            lake.landed.read_only = True
            tail = Tail(topic, lake.connection, lake.empty_record)
            first_day = first_day_of(lake, settings.first_day, datetime.now(UTC))
            hours = LiveHours(lake, tail, first_day, directory)
            tables = LiveTables(lake, hours, empty)
            return tables, stack.pop_all().close
        raise AssertionError("unreachable")

    return open_tables


class _Source:
    """What `live_files` does."""

    def __init__(
        self, open_tables: Open, say: Callable[[str], None], same_cut_seconds: float
    ) -> None:
        self._open, self._say, self._same_cut_seconds = open_tables, say, same_cut_seconds
        stack = ExitStack()
        directory = TemporaryDirectory(prefix="mastodon_pipeline_live_")
        self._directory = Path(stack.enter_context(directory))
        self._stack = stack
        self._empty = write_empty_files(self._directory)
        self._by_name = {table.name: table for table in LIVE_TABLES}
        self._tables: LiveTables | None = None
        self._cuts: dict[int, CutFiles] = {}
        """By transaction, the last few."""
        self._taken_at = -same_cut_seconds
        self._lock = RLock()
        self.defined = False
        """The views are there; while they are being created they get empty files."""
        weakref.finalize(self, stack.close)

    def files(self, table: str, part: str, transaction: int) -> list[str]:
        """Return the files of a part of a table, by the transaction's cut."""
        with self._lock:
            if not self.defined:
                return [self._empty["replaced" if part == Part.REPLACED else table]]
            if self._tables is None:
                self._tables, close = self._open(self._empty, self._directory)
                self._stack.callback(close)
            if transaction not in self._cuts:
                self._cuts[transaction] = self._cut(self._tables)
                for earlier in list(self._cuts)[:-KEPT_CUTS]:
                    del self._cuts[earlier]
            return self._tables.files(self._cuts[transaction], self._by_name[table], Part(part))

    def _cut(self, tables: LiveTables) -> CutFiles:
        if self._cuts and monotonic() - self._taken_at < self._same_cut_seconds:
            return list(self._cuts.values())[-1]
        taken = tables.take()
        self._taken_at = monotonic()
        for note in taken.cut.notes:
            self._say(note)
        return taken


def _warn(note: str) -> None:
    warnings.warn(f"live: {note}", stacklevel=2)


def write_empty_files(directory: Path) -> dict[str, str]:
    """Write a file without rows for each table, in folders as the bucket's; return their paths."""
    columns = {table.name: {c.name: c.type for c in table.columns} for table in LIVE_TABLES}
    columns["replaced"] = {"file": "VARCHAR", "uri": "VARCHAR"}
    files = {}
    with duckdb.connect(":memory:") as connection:
        for name, types in columns.items():
            folder = directory / "empty" / name / "day=1970-01-01" / "hour=0"
            folder.mkdir(parents=True)
            files[name] = str(folder / "empty.parquet")
            values = {"columns": json.dumps(types), "path": files[name]}
            connection.execute(query("usage/live/empty_table"), values)
    return files
