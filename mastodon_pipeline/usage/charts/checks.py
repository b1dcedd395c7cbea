"""Whether a chart shows the table that it claims to show.

A picture carries, as PNG text, the fingerprint of the table's files that it was drawn from, and a
digest of the rows that were drawn. Whoever holds it later can tell both from the table as it is.

See: https://www.w3.org/TR/png-3/#11tEXt
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.charts.drawing import texts_in, with_texts
from mastodon_pipeline.usage.checks.tables import Finding

if TYPE_CHECKING:
    import pandas as pd


PATIENCE = timedelta(minutes=20)
"""How long a chart may be behind its table: the running day's is drawn anew every five minutes."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture a day."""

    name: str
    files: Callable[[Lake, date], list[StoredFile]]
    """The table's files of a day."""
    rows: Callable[[Lake, date], "pd.DataFrame"]
    """What of them is drawn; raises TableError where the table has not been built."""
    draw: Callable[["pd.DataFrame", date], bytes]
    """The PNG."""


def draw_chart(lake: Lake, chart: Chart, day: date) -> tuple[str, bytes, int]:
    """Draws a UTC day's chart and puts it into the lake; its path, the PNG, the toots drawn.

    Raises TableError where the table has not been built.
    """
    drawn_from = fingerprint(chart.files(lake, day))  # before: a change meanwhile shows as one
    rows = chart.rows(lake, day)
    png = with_texts(chart.draw(rows, day), {"drawn_from": drawn_from, "drawn": _digest(rows)})
    path = lake.layout.chart(chart.name, day)
    lake.write_png(path, png)
    return path, png, int(rows["toots"].sum())


def chart_shows_its_table(lake: Lake, chart: Chart, days: Iterable[date], now: datetime) -> Finding:
    """Each day's picture is of the table as it is at `now` (UTC).

    A chart whose table was built anew is left out for 20 minutes, in which it is due to be drawn.
    """
    compared, unsettled = 0, 0
    faults: list[str] = []
    for day in days:
        path = lake.layout.chart(chart.name, day)
        stored = [file for file in lake.list_files(path) if file.path == path]
        if not stored:
            continue
        ((png,),) = lake.connection.execute(
            query("usage/charts/picture"), {"path": path}
        ).fetchall()
        told = texts_in(png)
        files = chart.files(lake, day)
        if told.get("drawn_from") == fingerprint(files):
            compared += 1
            if told.get("drawn") != _digest(chart.rows(lake, day)):
                faults.append(f"{day}: {path} shows other figures than its table has")
            continue
        since = min(
            (file.modified for file in files if file.modified > stored[0].modified),
            default=stored[0].modified,
        )
        if now - since <= PATIENCE:
            unsettled += 1
            continue
        compared += 1
        faults.append(f"{day}: {path} is not of the table as it is since {since:%F %H:%M} UTC")
    return Finding(compared, tuple(faults), unsettled)


def _digest(rows: "pd.DataFrame") -> str:
    return hashlib.blake2b(rows.to_csv(index=False).encode(), digest_size=16).hexdigest()
