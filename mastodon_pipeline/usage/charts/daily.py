"""Pictures of the daily tables, drawn with seaborn: a day by app, hour, language and length.

See: https://seaborn.pydata.org/generated/seaborn.barplot.html
"""

from datetime import date
from typing import TYPE_CHECKING

from mastodon_pipeline.usage.charts.bars import BLUE, Bar, draw_bars, height_of
from mastodon_pipeline.usage.charts.drawing import draw_figure, label

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from PIL.Image import Image


TOP = 12
"""Apps and languages that a picture names; the others are one bar, or left out and counted."""


def draw_hours_of_day(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a bar an hour. `rows`: of `hour_of_day_usage`."""
    import seaborn as sns
    from matplotlib.ticker import MaxNLocator

    def paint(axes: "Axes") -> None:
        sns.barplot(rows, x="hour_of_day", y="toots", color=BLUE, width=0.9, ax=axes)
        axes.set(xticks=range(0, 24, 3), xlabel="Hour of the day (UTC)", ylabel="Toots per hour")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.yaxis.set_major_formatter("{x:,.0f}")

    total = int(rows["toots"].sum())
    title = f"Public toots seen, by hour of the day, {day:%Y-%m-%d}\n{total:,} in all"
    return draw_figure(title, paint if total else None)


def draw_apps(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a bar for each of the most used applications. `rows`: of `app_usage`.

    Toots whose application is not known have no bar; the title says how many there are.
    """
    named = rows[rows["app"] != ""]
    title = (
        f"Most used apps, {day:%Y-%m-%d}\n{int(named['toots'].sum()):,} of"
        f" {int(rows['toots'].sum()):,} public toots name theirs"
    )
    return draw_bars(title, _top(named, "app"))


def draw_languages(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a bar for each of the most used languages. `rows`: of `language_usage`."""
    known = rows[rows["language_primary"] != ""]
    total = int(rows["toots"].sum())
    unknown = Bar("unknown", total - int(known["toots"].sum()), grey=True)
    title = (
        f"Public toots seen, by language, {day:%Y-%m-%d}\n{total:,} in all,"
        f" {len(known):,} languages"
    )
    return draw_bars(title, [*_top(known, "language_name"), unknown])


def draw_language_density(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw a box plot for each of the most used languages. `rows`: of `language_density`.

    The box is the middle half, its line the median; the whiskers reach the shortest and the longest
    toot. The axis is linear up to 10 characters and logarithmic from there.
    """
    import seaborn as sns

    top = rows.head(TOP)
    boxes = [
        {
            **dict(zip(("whislo", "q1", "med", "q3", "whishi"), figures, strict=True)),
            "label": f"{label(name)} ({toots:,})",
            "fliers": [],
        }
        for name, toots, *figures in top[
            ["language_name", "toots", "min", "q1", "median", "q3", "max"]
        ].itertuples(index=False)
    ]

    def paint(axes: "Axes") -> None:
        axes.bxp(
            boxes,
            orientation="horizontal",
            widths=0.7,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": sns.color_palette("pastel")[0]},
            medianprops={"color": "black", "linewidth": 2},
        )
        axes.invert_yaxis()
        axes.set_xscale("symlog", linthresh=10)
        longest = max(10, int(top["max"].max()))
        axes.set_xlim(0, longest * 1.15)
        ticks = (0, 10, 30, 100, 300, 1000, 3000, 10000)
        axes.set_xticks([tick for tick in ticks if tick <= longest])
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.minorticks_off()
        axes.tick_params(axis="y", labelsize="small")
        axes.set_xlabel("Characters of a toot")
        axes.grid(visible=False, axis="y")

    title = f"How long public toots are, by language, {day:%Y-%m-%d}\n(number of toots)"
    return draw_figure(title, paint if boxes else None, height=height_of(len(boxes)))


def draw_active_users(rows: "pd.DataFrame", day: date) -> "Image":
    """Draw three bars on one another for each server. `rows`: of `charts/active_users.sql`.

    The first row is that of all servers; its figures are in the title.
    """
    import seaborn as sns

    everywhere, servers = rows.iloc[0], rows.iloc[1:]
    pastel, deep = sns.color_palette("pastel"), sns.color_palette("colorblind")
    layers = (
        ("people_28_days", "in 28 days", pastel[0]),
        ("people_7_days", "in 7 days", deep[9]),
        ("people", "on the day", deep[0]),
    )

    def paint(axes: "Axes") -> None:
        places = range(len(servers))
        for column, name, colour in layers:
            axes.barh(places, servers[column], color=colour, label=name)
        axes.set_yticks(places, [label(name) for name in servers["server"]], fontsize="small")
        axes.invert_yaxis()
        axes.legend(fontsize="small", loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
        axes.set(xlabel="Accounts that posted, without bots")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.grid(visible=False, axis="y")

    figures = ", ".join(f"{everywhere[column]:,} {name}" for column, name, _ in layers[::-1])
    title = f"Active people, {day:%Y-%m-%d}\n{figures}"
    return draw_figure(title, paint if len(servers) else None, height=height_of(len(servers)))


def _top(rows: "pd.DataFrame", names: str) -> list[Bar]:
    """Return the first rows as bars, and the others as one."""
    top, others = rows.head(TOP), rows[TOP:]
    bars = [Bar(label(name), toots) for name, toots in zip(top[names], top["toots"], strict=True)]
    return [*bars, Bar(f"{len(others):,} others", int(others["toots"].sum()), grey=True)]
