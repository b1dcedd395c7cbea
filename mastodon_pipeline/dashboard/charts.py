"""How figures look: one palette, one size, and data inside the chart's own specification.

The colours are Okabe and Ito's, which colour-blind people can tell apart, without those that white
or black paper swallows. See: https://jfly.uni-koeln.de/color/
"""

from collections.abc import Sequence
from typing import Any, Literal

import altair as alt

from mastodon_pipeline.dashboard.counts import OTHERS, Row

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
OTHERS_COLOUR = "#999999"
HEIGHT = 320
ROW_HEIGHT = 24
Spec = dict[str, Any]


def spec(chart: alt.Chart | alt.LayerChart, rows: Sequence[Row]) -> Spec:
    """Return a chart's Vega-Lite specification with its data.

    The data is in a layer, and not at the top: from there Streamlit would take it as a table, for
    which it imports pandas, 100 MB that nothing else here needs.
    """
    whole: Spec = chart.to_dict(validate=False)
    inner = {
        key: whole.pop(key)
        for key in ("mark", "encoding", "layer", "transform", "params")
        if key in whole
    }
    for key in ("data", "datasets", "config"):
        whole.pop(key, None)
    for layer in inner.get("layer", ()):
        layer.pop("data", None)
        if "height" in layer:
            whole["height"] = layer.pop("height")
    whole["layer"] = [{"data": {"values": list(rows)}, **inner}]
    return whole


def stacked_over_time(rows: Sequence[Row], step: str, group: str, value: str) -> alt.Chart:
    """Return bars over time, stacked by a group; the largest group is at the bottom."""
    groups = _by_total(rows, group, value)
    order = {name: number for number, name in enumerate(groups)}
    for row in rows:
        row["order"] = order[row[group]]
    chart: alt.Chart = (
        _chart()
        .mark_bar(binSpacing=0.5)
        .encode(
            x=time_axis(step),
            y=alt.Y(f"{value}:Q", title=value, stack="zero", axis=count_axis()),
            color=colour(group, groups),
            order=alt.Order("order:Q"),
            tooltip=[_moment(step), alt.Tooltip(f"{group}:N"), _count(value)],
        )
        .properties(height=HEIGHT)
    )
    return chart


def lines(rows: Sequence[Row], group: str, value: str) -> alt.Chart:
    """Return a line of days for each group; each has its own shape of points, too."""
    groups = _by_total(rows, group, value)
    shapes = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
    legend = alt.Legend(orient="bottom", columns=2, title=None, labelLimit=200)
    chart: alt.Chart = (
        _chart()
        .mark_line(point=alt.OverlayMarkDef(size=40))
        .encode(
            x=time_axis("day"),
            y=alt.Y(f"{value}:Q", title=value, axis=count_axis()),
            color=colour(group, groups),
            shape=alt.Shape(
                f"{group}:N", scale=alt.Scale(domain=groups, range=shapes), legend=legend
            ),
            tooltip=[_moment("day"), alt.Tooltip(f"{group}:N"), _count(value)],
        )
        .properties(height=HEIGHT)
    )
    return chart


def bars(rows: Sequence[Row], name: str, value: str) -> alt.Chart:
    """Return horizontal bars, in the order of the rows."""
    chart: alt.Chart = (
        _chart()
        .mark_bar(color=COLOURS[0])
        .encode(
            y=_names(name),
            x=alt.X(f"{value}:Q", title=value, axis=count_axis()),
            tooltip=[alt.Tooltip(f"{name}:N"), _count(value)],
        )
        .properties(height=_height(rows))
    )
    return chart


def bars_with_marks(rows: Sequence[Row], name: str, value: str, mark: str) -> alt.LayerChart:
    """Return horizontal bars with a mark on each, in the order of the rows."""
    tooltip = [alt.Tooltip(f"{name}:N"), _count(value), alt.Tooltip(f"{mark}:Q", format=",.1f")]
    marks = (
        _chart()
        .mark_tick(color=COLOURS[1], thickness=3, size=16)
        .encode(y=_names(name), x=alt.X(f"{mark}:Q"), tooltip=tooltip)
    )
    return alt.LayerChart(layer=[bars(rows, name, value).encode(tooltip=tooltip), marks])


def quartiles(rows: Sequence[Row], name: str) -> alt.LayerChart:
    """Return a bar from the first to the third quartile with a mark at the median."""
    tooltip = [
        alt.Tooltip(f"{name}:N"),
        *(alt.Tooltip(f"{each}:Q", format=",.0f") for each in ("q1", "median", "q3")),
        _count("toots"),
    ]
    x = alt.X("q1:Q", title="characters", axis=count_axis())
    boxes = (
        _chart().mark_bar(color=COLOURS[4]).encode(y=_names(name), x=x, x2="q3:Q", tooltip=tooltip)
    )
    marks = (
        _chart()
        .mark_tick(color=COLOURS[5], thickness=3, size=16)
        .encode(y=_names(name), x="median:Q", tooltip=tooltip)
    )
    return alt.LayerChart(layer=[boxes.properties(height=_height(rows)), marks])


def heat_map(rows: Sequence[Row], weekdays: Sequence[str]) -> alt.Chart:
    """Return weekdays by hours of the day."""
    chart: alt.Chart = (
        _chart()
        .mark_rect()
        .encode(
            x=alt.X("hour_of_day:O", title="hour (UTC)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("weekday:O", title=None, sort=list(weekdays)),
            color=alt.Color(
                "toots:Q",
                scale=alt.Scale(scheme="viridis"),
                legend=alt.Legend(orient="bottom", title="toots an hour"),
            ),
            tooltip=[
                alt.Tooltip("weekday:O"),
                alt.Tooltip("hour_of_day:O", title="hour"),
                alt.Tooltip("toots:Q", format=",.1f"),
            ],
        )
        .properties(height=HEIGHT)
    )
    return chart


def _by_total(rows: Sequence[Row], group: str, value: str) -> list[str]:
    """Return the groups, the largest first; the others are last."""
    totals: dict[str, float] = {}
    for row in rows:
        totals[row[group]] = totals.get(row[group], 0) + row[value]
    return sorted(totals, key=lambda name: (name == OTHERS, -totals[name], name))


def _names(name: str) -> alt.Y:
    return alt.Y(f"{name}:N", title=None, sort=None, axis=alt.Axis(labelLimit=140))


def _count(value: str) -> alt.Tooltip:
    return alt.Tooltip(f"{value}:Q", format=",")


def _moment(step: str) -> alt.Tooltip:
    form = "%a %d %b %Y" if step == "day" else "%a %d %b %Y %H:%M"
    return alt.Tooltip(
        "moment:T", title="UTC", timeUnit="utcyearmonthdatehoursminutes", format=form
    )


def _height(rows: Sequence[Row]) -> int:
    return max(HEIGHT, ROW_HEIGHT * len(rows) + 50)


def time_axis(step: str) -> alt.X:
    """Return the axis of moments, in UTC; each bar begins at its own."""
    unit: Literal["utcyearmonthdatehoursminutes", "utcyearmonthdatehours", "utcyearmonthdate"]
    unit = {
        "minute": "utcyearmonthdatehoursminutes",
        "hour": "utcyearmonthdatehours",
        "day": "utcyearmonthdate",
    }[step]  # type: ignore[assignment]
    axis = alt.Axis(labelOverlap=True, grid=False, tickCount=8)
    return alt.X("moment:T", timeUnit=unit, title="UTC", axis=axis, scale=alt.Scale(type="utc"))


def colour(group: str, groups: Sequence[str]) -> alt.Color:
    """Return the colours of groups, in their order; that of the others is grey."""
    named = [name for name in groups if name != OTHERS]
    domain = [*named, *(name for name in groups if name == OTHERS)]
    scale = [COLOURS[number % len(COLOURS)] for number in range(len(named))]
    scale += [OTHERS_COLOUR] * (len(domain) - len(named))
    legend = alt.Legend(orient="bottom", columns=2, title=None, labelLimit=200)
    return alt.Color(f"{group}:N", scale=alt.Scale(domain=domain, range=scale), legend=legend)


def count_axis() -> alt.Axis:
    """Return the axis of a count: whole numbers, with thousands apart."""
    return alt.Axis(format=",d", tickMinStep=1)


def _chart() -> alt.Chart:
    return alt.Chart(alt.NamedData(name="rows"))
