"""Rows of the small tables in memory: each file is read once, and again where it has changed.

The object store is asked for listings of the days that a figure shows, and for files that are new.
That is what keeps the page quick with years of history, and cheap while it refreshes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from mastodon_pipeline.dashboard.periods import DAY
from mastodon_pipeline.dashboard.table_files import files_of_days
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.tables.catalog import TABLES

MIRRORED = (
    "toots_per_server_per_hour",
    "active_users",
    "app_usage",
    "hour_of_day_usage",
    "language_usage",
    "language_density",
    "media_usage",
    "term_mentions",
    "server_coverage",
)
"""All but `toots` and `hashtag_usage`, whose rows are too many."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the rows of a table's file are read from now."""

    version: str
    """Changes with the content."""
    path: str


class TableRows:
    """Tables of DuckDB, named as those of the lake, with the rows of the days asked for so far."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._sources: dict[str, dict[str, Source]] = {name: {} for name in MIRRORED}
        """By table: by the file's path in the lake."""
        self._numbers: dict[str, int] = {}
        """Of files by their paths, each a hundred bytes that no row needs."""
        columns = {table.name: table.columns for table in TABLES}
        for name in MIRRORED:
            declared = ", ".join(f'"{column.name}" {column.type}' for column in columns[name])
            lake.connection.execute(f"CREATE TABLE {name} (file UINTEGER, {declared})")

    def refresh(
        self,
        table: str,
        first: date,
        last: date,
        behind: Mapping[str, Source] | None = None,
    ) -> None:
        """Have the table's rows from one day to another, both included, as the lake has them now.

        `behind`: by their paths in the lake, files that are read from elsewhere, since they do not
        count everything yet.

        Raises ObjectStoreUnavailable or duckdb.Error if the object store cannot be read.
        """
        wanted = {
            file.path: Source(file.etag, file.path)
            for file in files_of_days(self._lake, table, first, last)
        }
        folder = self._lake.layout.table(table)
        begin, end = f"{folder}day={first}", f"{folder}day={last + DAY}"
        wanted |= {path: at for path, at in (behind or {}).items() if begin <= path < end}
        sources = self._sources[table]
        here = {path for path in sources if begin <= path < end}
        changed = {path for path, source in wanted.items() if sources.get(path) != source}
        gone = (here - wanted.keys()) | (here & changed)
        if gone:
            self._lake.connection.execute(
                f"DELETE FROM {table} WHERE file IN (SELECT unnest($numbers))",
                {"numbers": [self._number(path) for path in sorted(gone)]},
            )
            for path in gone:
                del sources[path]
        if changed:
            by_place = {wanted[path].path: path for path in changed}
            self._copy(table, by_place)
            sources.update({path: wanted[path] for path in changed})

    def _copy(self, table: str, by_place: Mapping[str, str]) -> None:
        places = sorted(by_place)
        numbers = [self._number(by_place[place]) for place in places]
        self._lake.connection.execute(
            query("dashboard/copy_rows").format(table=table), {"files": places, "numbers": numbers}
        )

    def _number(self, path: str) -> int:
        return self._numbers.setdefault(path, len(self._numbers))
