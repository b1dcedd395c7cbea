"""What a table is. Each is declared once, and everything else is derived from its declaration:

| from a `Table` | in |
|---|---|
| the asset with its page in the UI: description, columns, lineage, checks | `usage/assets.py` |
| the assets of its charts | `usage/assets.py` |
| the view by its name, in `mastodon-pipeline sql` and notebooks | `usage/views.py` |
| the view of the same name in the schema `live` | `usage/live/` |
| which days are stale, and the runs that build them | `usage/refreshing/` |
| `docs/data-dictionary.md` | `usage/tables/dictionary.py` |
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import Enum
from typing import Generic, TypeVar

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.usage.charts.chart import Chart
from mastodon_pipeline.usage.checks.check import Check

Partition = TypeVar("Partition", datetime, date)


class Grain(Enum):
    """What one file of a table covers."""

    HOUR = "hour"
    """A UTC hour; a partition is its start."""
    DAY = "day"
    """A UTC day."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table."""

    name: str
    type: str
    """As DuckDB names it."""
    description: str
    made_from: tuple[str, ...] = ()
    """The columns of the table's first source whose values it holds or counts. Besides, every toot
    is counted once by its `uri`, in its hour or day by its `created_at`."""
    previewed: bool = True
    """Shown among the first rows that a run logs. Dagster's log outlives a toot's deletion, so what
    people wrote, and who they are, is not."""


@dataclass(frozen=True, slots=True)
class BuiltPartition:
    """One partition's file, as it now is in the lake."""

    path: str
    rows: int
    input_files: int
    unchanged: bool = False
    """Left as it was; `notes` says why."""
    notes: tuple[str, ...] = ()
    """Lines for the run's log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table(Generic[Partition]):
    """A table, made by the query `usage/tables/<name>`."""

    name: str
    grain: Grain
    description: str
    """What a row is, what is counted and what is not; Markdown."""
    sources: tuple[str, ...]
    """The assets that it is made from; the first has the columns that `made_from` names."""
    columns: tuple[Column, ...]
    """In the order of its file."""
    checks: tuple[Check[Partition], ...]
    path: Callable[[Layout, Partition], str]
    """The file of a partition."""
    build: Callable[[Lake, Partition], BuiltPartition]
    """Builds a partition. Raises TableError if that is not possible."""
    parameters: Callable[[], Mapping[str, object]] = dict
    """Parameters of its query that are the same for all partitions."""
    charts: tuple[Chart, ...] = ()
    of_text: bool = False
    """Counts words: a day of it stays as it is once the text of its toots is gone, after
    PERSON_RETENTION_DAYS."""
    group: str = "usage"
    """Where the UI lists it."""
    kinds: frozenset[str] = frozenset()
    """Tags in the UI, beside duckdb and parquet."""

    @property
    def query(self) -> str:
        """The name of the query."""
        return f"usage/tables/{self.name}"
