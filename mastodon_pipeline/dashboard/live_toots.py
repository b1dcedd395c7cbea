"""What Kafka has acknowledged and the tables do not count yet, for the figures of running periods.

`usage.live` counts it. While Kafka or the registry is away, the tables are all there is, and the
page says so.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

import duckdb

from mastodon_pipeline.dashboard.table_rows import Source
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.live.tables import LiveTables, Part
from mastodon_pipeline.usage.live.views import Open, open_live_tables, write_empty_files
from mastodon_pipeline.usage.tables.hourly import TOOTS, TOOTS_PER_SERVER_PER_HOUR
from mastodon_pipeline.usage.tables.table import Table

RETRY_SECONDS = 30.0
"""After a cut that failed: it may have waited for an answer for some seconds."""


@dataclass(frozen=True, slots=True)
class LiveFiles:
    """A cut: files that are behind in the lake, and what to read in their place."""

    hours: Mapping[str, Source] = field(default_factory=dict)
    """Of `toots_per_server_per_hour`, by their paths in the lake."""
    toots_behind: frozenset[str] = frozenset()
    """Files of `toots` that are not read as they are."""
    toots_base: tuple[str, ...] = ()
    """Those of them that are read but for `toots_replaced`."""
    toots_replaced: tuple[str, ...] = ()
    toots_local: tuple[str, ...] = ()
    problem: str = ""
    """Why there is none: a line for a person."""


class LiveToots:
    """Takes cuts of the settings' topic and bucket."""

    def __init__(self, settings: Settings, open_tables: Open | None = None) -> None:
        """`open_tables`: by default those of the settings."""
        self._open = open_tables or open_live_tables(settings)
        self._stack = ExitStack()
        directory = TemporaryDirectory(prefix="mastodon_pipeline_dashboard_")
        self._directory = Path(self._stack.enter_context(directory))
        self._empty = write_empty_files(self._directory)
        self._tables: LiveTables | None = None
        self._retry_at = 0.0
        self._problem = ""

    def take(self) -> LiveFiles:
        """Take a cut; where that fails, return one without files that says why."""
        if monotonic() < self._retry_at:
            return LiveFiles(problem=self._problem)
        try:
            return self._take()
        except (PipelineError, duckdb.Error) as error:
            self._problem = str(error) if isinstance(error, PipelineError) else "it cannot be read"
            self._retry_at = monotonic() + RETRY_SECONDS
            return LiveFiles(problem=self._problem)

    def close(self) -> None:
        """Leave Kafka, and delete the local files."""
        self._stack.close()

    def _take(self) -> LiveFiles:
        if self._tables is None:
            self._tables, close = self._open(self._empty, self._directory)
            self._stack.callback(close)
        cut = self._tables.take()
        empty = set(self._empty.values())

        def files(table: Table[Any], part: Part) -> list[str]:
            assert self._tables is not None
            return [path for path in self._tables.files(cut, table, part) if path not in empty]

        counts = TOOTS_PER_SERVER_PER_HOUR
        return LiveFiles(
            # Both are in the order of the hours.
            hours={
                path: Source(local, local)
                for path, local in zip(
                    files(counts, Part.BEHIND), files(counts, Part.LOCAL), strict=True
                )
            },
            toots_behind=frozenset(files(TOOTS, Part.BEHIND)),
            toots_base=tuple(files(TOOTS, Part.BASE)),
            toots_replaced=tuple(files(TOOTS, Part.REPLACED)),
            toots_local=tuple(files(TOOTS, Part.LOCAL)),
            problem="; ".join(cut.cut.notes),
        )
