"""Builds the usage tables: one function a table, one query each, one file a partition.

Building again changes nothing but what newly landed files change, so any of it may be repeated,
interrupted or run twice at once: an object is replaced whole, and readers see the old or the new.

What a count means: *public top-level toots that a configured server listed while it was listened
to*. Mastodon's public feeds leave out replies to others, boosts and unlisted posts.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from mastodon_pipeline.errors import RecordsGone, TableError
from mastodon_pipeline.lake.files import fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.inputs.clock_skew import told_before
from mastodon_pipeline.usage.inputs.removed_hours import HourRecords, hour_records
from mastodon_pipeline.usage.tables.languages import language_names


def _languages() -> dict[str, object]:
    names = language_names()
    return {"language_codes": list(names), "language_names": list(names.values())}


def _terms() -> dict[str, object]:
    return {"terms": list(load_settings().terms)}


DAILY_TABLES: Mapping[str, Callable[[], dict[str, object]]] = {
    "daily_usage": dict,
    "app_usage": dict,
    "hour_of_day_usage": dict,
    "language_usage": _languages,
    "language_density": _languages,
    "term_mentions": _terms,
}
"""The tables with a file a UTC day, each made by the query of its name with these parameters
beside those that all of them have."""


@dataclass(frozen=True, slots=True)
class BuiltTable:
    """One partition's file, as it now stands in the lake."""

    path: str
    rows: int
    input_files: int
    kept: bool = False
    """Left as it was, since its input is gone."""


def build_toots(lake: Lake, hour: datetime) -> BuiltTable:
    """The hour's landed records as one row a toot. `hour`: the start of the hour, UTC.

    An hour in which nothing landed gets a table without rows. But where the table has toots and
    the landed files are gone, it is kept; and where they were removed by maintenance, what landed
    since is merged with it (see `kept`).

    The hour before is to be built before it: toots of clocks that run ahead are told apart by its
    table (see `clamped`).

    A delete whose toot the listener could not name any more lands in the hour of its arrival, and
    is applied only if the toot was posted in that hour.

    Raises TableError where the landed files were removed and the table is gone as well.
    """
    path = lake.layout.toots(hour)
    try:
        with hour_records(lake, hour) as records:
            if not records.landed and lake.parquet_files(path):
                return BuiltTable(path, count_rows(lake, path), 0, kept=True)
            return BuiltTable(path, write_toots(lake, hour, records, path), len(records.landed))
    except RecordsGone as error:
        raise TableError(str(error)) from None


def build_toots_per_server(lake: Lake, hour: datetime) -> BuiltTable:
    """The hour's toots counted by home server. `hour`: the start of the hour, UTC.

    Raises TableError where the hour's `toots` have not been built.
    """
    source = lake.layout.toots(hour)
    if not lake.parquet_files(source):
        raise TableError(
            f"the toots of {hour:%Y-%m-%d %H:%M} UTC have not been built; materialise them too:"
            f" --select toots,toots_per_server_per_hour --partition {hour:%Y-%m-%d-%H:%M}"
        )
    path = lake.layout.toots_per_server(hour)
    values = {
        "toots_file": source,
        "hour_start": hour,
        # Handed on: it says which landed files the counts stand on.
        "built_from": lake.built_from([source]).get(source, ""),
    }
    return BuiltTable(path, write_table(lake, "toots_per_server_per_hour", path, values), 1)


def build_daily(lake: Lake, day: date, table: str, **values: object) -> BuiltTable:
    """A UTC day of one of the `DAILY_TABLES`, from those of its hours whose toots are built.

    `values` replace the query's own parameters.
    """
    toots = lake.parquet_files(lake.layout.toots_day(day))
    path = lake.layout.daily(table, day)
    values = {
        **DAILY_TABLES[table](),
        **values,
        "toots_files": [lake.empty_record, *(file.path for file in toots)],
        "day": day,
        "built_from": fingerprint(toots),
    }
    return BuiltTable(path, write_table(lake, table, path, values), len(toots))


def first_rows(lake: Lake, path: str, without: tuple[str, ...] = (), limit: int = 10) -> str:
    """A file's first rows as a Markdown table, without some of its columns."""
    rows = lake.connection.read_parquet(path, hive_partitioning=False).limit(limit)
    shown = [name for name in rows.columns if name not in without]
    table = rows.select(*shown)
    lines = [
        shown,
        ["---"] * len(shown),
        *([_cell(value) for value in row] for row in table.fetchall()),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_toots(lake: Lake, hour: datetime, records: HourRecords, path: str) -> int:
    """Writes the hour's `toots` to a path; how many rows."""
    values = {
        "raw_files": list(records.paths),
        "built_from": fingerprint(records.landed),
        **told_before(lake, hour),
    }
    return write_table(lake, "toots", path, values)


def write_table(lake: Lake, table: str, path: str, values: Mapping[str, object]) -> int:
    """Writes a file by the query of the table's name with these parameters; how many rows."""
    if "://" not in path:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    row = lake.connection.execute(
        query(f"usage/tables/{table}"), {**values, "path": path}
    ).fetchone()
    return int(row[0]) if row else 0


def count_rows(lake: Lake, path: str) -> int:
    """The rows of a table's file."""
    row = lake.connection.read_parquet(path).count("*").fetchone()
    return int(row[0]) if row else 0


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    text = "" if value is None else str(value)
    return text.replace("|", r"\|").replace("\n", " ")
