"""What a chart is: drawn from one table's day, and checked against it.

A picture carries, as PNG text, the fingerprint of the table's files that it was drawn from, and a
digest of the rows that were drawn. By these it can later be compared with the table as it is.

See: https://www.w3.org/TR/png-3/#11tEXt
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import replace_file
from mastodon_pipeline.usage.charts.drawing import encode_png, png_texts
from mastodon_pipeline.usage.checks.check import Finding, compare_each

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image


PATIENCE = timedelta(minutes=30)
"""How long a chart may be behind its table: the running day's is drawn every fifteen minutes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture a UTC day of a table."""

    name: str
    description: str
    draw: "Callable[[pd.DataFrame, date], Image]"
    """Draws the rows of a day."""
    query: str = "usage/charts/day_of_table"
    """What of the table's files is drawn."""
    parameters: Mapping[str, object] = field(default_factory=dict)
    """The query's, beside the files."""
    columns_if_empty: tuple[str, ...] = ()
    """The columns of the rows if the table has no file of the day; () if it must have one."""


class DrawnChart(NamedTuple):
    """A picture, as it now is in the lake."""

    path: str
    png: bytes
    toots: int
    """How many the picture shows."""


def chart_rows(lake: Lake, chart: Chart, table: str, day: date) -> "pd.DataFrame":
    """Read what the chart shows of a UTC day of its table.

    Raises TableError if the table has not been built.
    """
    files = [file.path for file in _table_files(lake, table, day)]
    if files:
        values = {**chart.parameters, "files": files}
        return lake.connection.execute(query(chart.query), values).df()
    if chart.columns_if_empty:
        import pandas as pd

        return pd.DataFrame(columns=list(chart.columns_if_empty))
    raise TableError(
        f"{table} of {day} has not been built; materialize it too:"
        f" --select {table}+ --partition {day}"
    )


def draw_chart(lake: Lake, chart: Chart, table: str, day: date) -> DrawnChart:
    """Draw a UTC day's chart and put it into the lake.

    Raises TableError if the table has not been built.
    """
    path = lake.layout.chart(chart.name, day)

    def draw(files: Sequence[StoredFile], local: str) -> DrawnChart:
        rows = chart_rows(lake, chart, table, day)
        texts = {"drawn_from": fingerprint(files), "drawn": _digest(rows)}
        png = encode_png(chart.draw(rows, day), texts)
        Path(local).write_bytes(png)
        return DrawnChart(path, png, int(rows["toots"].sum()))

    return replace_file(lake, path, draw, lambda: _table_files(lake, table, day))


def chart_shows_its_table(
    lake: Lake, chart: Chart, table: str, days: Iterable[date], now: datetime
) -> Finding:
    """Find pictures that do not show their table as it is at `now` (UTC).

    A chart whose table was built again is skipped for 20 minutes, in which it is due to be drawn.
    """
    paths = {day: lake.layout.chart(chart.name, day) for day in days}
    pictures = {
        day: file
        for day, path in paths.items()
        for file in lake.list_files(path)
        if file.path == path
    }

    def find_faults(day: date) -> list[str] | None:
        path, drawn_at = pictures[day].path, pictures[day].modified
        ((png,),) = lake.connection.execute(
            query("usage/charts/picture"), {"path": path}
        ).fetchall()
        texts = png_texts(png)
        files = _table_files(lake, table, day)
        if texts.get("drawn_from") == fingerprint(files):
            if texts.get("drawn") == _digest(chart_rows(lake, chart, table, day)):
                return []
            return [f"{day}: {path} shows other figures than its table has"]
        newer = (file.modified for file in files if file.modified > drawn_at)
        since = min(newer, default=drawn_at)
        if now - since <= PATIENCE:
            return None
        return [f"{day}: {path} does not show the table as it is since {since:%F %H:%M} UTC"]

    return compare_each(pictures, find_faults)


def _table_files(lake: Lake, table: str, day: date) -> list[StoredFile]:
    return lake.parquet_files(lake.layout.table_day(table, day))


def _digest(rows: "pd.DataFrame") -> str:
    return hashlib.blake2b(rows.to_csv(index=False).encode(), digest_size=16).hexdigest()
