"""Draws the usage tables, with seaborn.

A picture is small enough for a phone and for the UI's dialog, opaque and light, so that it also
reads in dark mode, and in colours that the colour-blind tell apart.

See: https://seaborn.pydata.org/generated/seaborn.histplot.html
"""

import base64
from datetime import date
from io import BytesIO
from typing import TYPE_CHECKING

from mastodon_pipeline.usage.lake import Lake
from mastodon_pipeline.usage.sql import query

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["as_markdown", "draw_toots_per_server", "toots_per_server_rows"]

TOP_SERVERS = 6
"""Servers with a colour of their own; the rest share one."""
_OTHERS = "other servers"


def toots_per_server_rows(lake: Lake, day: date) -> "pd.DataFrame":
    """The day's `toots_per_server_per_hour` as drawn: hour_of_day (UTC), server, toots.

    The busiest servers come first; no row where no hour of the day has been built.
    """
    files = [file.path for file in lake.parquet_files(lake.layout.toots_per_server_day(day))]
    if not files:
        return lake.connection.sql("SELECT 0 AS hour_of_day, '' AS server, 0 AS toots LIMIT 0").df()
    values = {"usage_files": files, "top": TOP_SERVERS}
    return lake.connection.execute(query("toots_per_server_chart"), values).df()


def draw_toots_per_server(rows: "pd.DataFrame", day: date) -> bytes:
    """A PNG of some 20 kB: a bar an hour, stacked by server. `rows`: as above."""
    # Not at the module's head: matplotlib and pandas would cost every load of the code a second.
    import seaborn as sns
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    servers = list(dict.fromkeys(rows["server"]))
    named = [server for server in servers if server != _OTHERS]
    safe = sns.color_palette("colorblind")
    colours = [safe[place] for place in (0, 1, 2, 3, 4, 9)]  # 5 and 6 come too close to others
    palette = {**dict(zip(named, colours, strict=False)), _OTHERS: safe[7]}
    order = named + [server for server in servers if server == _OTHERS]

    with sns.axes_style("whitegrid"), sns.plotting_context("notebook"):
        # A figure of its own, not pyplot's: nothing is kept once it is drawn.
        figure = Figure(figsize=(6, 4.2), dpi=120, layout="constrained", facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.subplots()
        if order:
            sns.histplot(
                rows,
                x="hour_of_day",
                weights="toots",
                hue="server",
                hue_order=order,
                palette=palette,
                multiple="stack",
                binrange=(-0.5, 23.5),
                binwidth=1,
                alpha=1,
                edgecolor="white",
                linewidth=0.5,
                shrink=0.9,
                ax=axes,
            )
            sns.move_legend(
                axes,
                "upper center",
                bbox_to_anchor=(0.5, -0.2),
                ncol=2,
                frameon=False,
                title=None,
                fontsize="small",
            )
        else:
            axes.text(12, 0.5, "no toots seen on this day", ha="center", va="center")
        axes.set(xlim=(-0.7, 23.7), xticks=range(0, 24, 3), xlabel="Hour of the day (UTC)")
        axes.set_ylabel("Toots per hour")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")
        total = int(rows["toots"].sum())
        axes.set_title(
            f"Public toots seen, by home server, {day:%Y-%m-%d}\n{total:,} in all",
            fontsize="medium",
            loc="left",
        )
        drawn = BytesIO()
        canvas.print_png(drawn)  # type: ignore[no-untyped-call]
    return _with_palette(drawn)


def as_markdown(png: bytes, alternative: str) -> str:
    """The picture itself as Markdown, so that the UI shows it without the bucket's keys."""
    return f"![{alternative}](data:image/png;base64,{base64.b64encode(png).decode()})"


def _with_palette(png: BytesIO) -> bytes:
    """The same picture in 64 colours: a third of the size, which Dagster's log has to keep."""
    from PIL import Image

    out = BytesIO()
    with Image.open(png) as picture:
        flat = picture.convert("RGB").quantize(64, dither=Image.Dither.NONE)
        flat.save(out, "PNG", optimize=True)
    return out.getvalue()
