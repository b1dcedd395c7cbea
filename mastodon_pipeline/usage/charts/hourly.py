"""Pictures of the hourly table, drawn with seaborn: a day of the busiest servers.

See: https://seaborn.pydata.org/generated/seaborn.histplot.html
"""

from datetime import date
from typing import TYPE_CHECKING

from mastodon_pipeline.usage.charts.bars import Bar, draw_bars
from mastodon_pipeline.usage.charts.drawing import draw_figure, label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from PIL.Image import Image


BUSIEST_SERVERS = 6
"""Servers with a colour in `toots_per_server`; the rest share one."""
BUSIEST_ROWS = 18
"""Servers with a row in `servers_by_hour`; the rest is left out."""
TOP_HASHTAGS = 15
_OTHERS = "other servers"


def draw_toots_per_server(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a bar an hour, stacked by server. `rows`: of `charts/toots_per_server.sql`."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    servers = list(dict.fromkeys(rows["server"]))
    named = [server for server in servers if server != _OTHERS]
    safe = sns.color_palette("colorblind")
    colours = [safe[place] for place in (0, 1, 2, 3, 4, 9)]  # 5 and 6 come too close to others
    palette = {**dict(zip(named, colours, strict=False)), _OTHERS: safe[7]}
    order = [*named, _OTHERS] if _OTHERS in servers else named

    def paint(axes: "Axes") -> None:
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
        if legend := axes.get_legend():
            for text in legend.get_texts():
                text.set_text(label(text.get_text()))
        axes.set(xlim=(-0.7, 23.7), xticks=range(0, 24, 3), xlabel="Hour of the day (UTC)")
        axes.set_ylabel("Toots per hour")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(visible=False, axis="x")

    total = int(rows["toots"].sum())
    title = f"Public toots seen, by home server, {day:%Y-%m-%d}\n{total:,} in all"
    return draw_figure(title, paint if order else None)


def draw_servers_by_hour(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a row a server and a column an hour, darker for more toots. `rows`: as above.

    The shades are logarithmic, since servers differ by orders of magnitude; an hour without toots
    is white. The servers beyond the busiest are left out.
    """
    import seaborn as sns
    from matplotlib.colors import LogNorm

    named = rows[rows["server"] != _OTHERS]
    servers = list(dict.fromkeys(named["server"]))

    def paint(axes: "Axes") -> None:
        counts = named.pivot(index="server", columns="hour_of_day", values="toots")
        counts = counts.reindex(index=servers, columns=range(24))
        sns.heatmap(
            counts,
            # From 1 to at least 10: otherwise one toot more or less would look like a flood.
            norm=LogNorm(1, max(10, int(named["toots"].max()))),
            cmap="crest",
            linewidths=0.5,
            linecolor="white",
            xticklabels=False,
            yticklabels=False,
            cbar_kws={"label": "Toots per hour", "format": "{x:,.0f}"},
            ax=axes,
        )
        axes.set_yticks(
            [place + 0.5 for place in range(len(servers))],
            [label(server) for server in servers],
            rotation=0,
            fontsize="small",
        )
        axes.set_xticks(
            [hour + 0.5 for hour in range(0, 24, 3)],
            [str(hour) for hour in range(0, 24, 3)],
            rotation=0,
        )
        axes.set(xlabel="Hour of the day (UTC)", ylabel="")

    title = (
        f"Public toots seen, {day:%Y-%m-%d}\n{len(servers)} busiest home servers,"
        f" {int(named['toots'].sum()):,} of {int(rows['toots'].sum()):,} toots"
    )
    return draw_figure(title, paint if servers else None, height=1.9 + 0.22 * max(len(servers), 6))


def draw_hashtags(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a bar for each of the most used hashtags. `rows`: of `charts/hashtags.sql`."""
    bars = [
        Bar(f"#{label(spelling)}", int(toots))
        for spelling, toots in zip(rows["spelling"], rows["toots"], strict=True)
    ]
    different = int(rows["hashtags"].max()) if bars else 0
    title = f"Most used hashtags of public toots, {day:%Y-%m-%d}\n{different:,} different ones"
    return draw_bars(title, bars)
