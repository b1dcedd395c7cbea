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
    whole.pop("data", None)
    whole.pop("datasets", None)
    whole.pop("config", None)
    whole["layer"] = [{"data": {"values": list(rows)}, **inner}]
    return whole


def stacked_over_time(
    rows: Sequence[Row], step: str, group: str, value: str, unit: str
) -> alt.Chart:
    """Return bars over time, stacked by a group; the largest group is at the bottom."""
    totals: dict[str, int] = {}
    for row in rows:
        totals[row[group]] = totals.get(row[group], 0) + row[value]
    groups = sorted(totals, key=lambda name: (name == OTHERS, -totals[name], name))
    order = {name: number for number, name in enumerate(groups)}
    for row in rows:
        row["order"] = order[row[group]]
    chart: alt.Chart = (
        _chart()
        .mark_bar()
        .encode(
            x=time_axis(step),
            y=alt.Y(f"{value}:Q", title=unit, stack="zero", axis=count_axis()),
            color=colour(group, groups),
            order=alt.Order("order:Q"),
            tooltip=[
                alt.Tooltip("moment:T", title="UTC", format="%a %d %b %Y %H:%M"),
                alt.Tooltip(f"{group}:N", title=group),
                alt.Tooltip(f"{value}:Q", title=unit, format=","),
            ],
        )
        .properties(height=HEIGHT)
    )
    return chart


def bars(rows: Sequence[Row], name: str, value: str, title: str, unit: str) -> alt.Chart:
    """Return horizontal bars, in the order of the rows."""
    chart: alt.Chart = (
        _chart()
        .mark_bar(color=COLOURS[0])
        .encode(
            y=alt.Y(f"{name}:N", title=None, sort=None, axis=alt.Axis(labelLimit=160)),
            x=alt.X(f"{value}:Q", title=unit, axis=count_axis()),
            tooltip=[
                alt.Tooltip(f"{name}:N", title=title),
                alt.Tooltip(f"{value}:Q", title=unit, format=","),
            ],
        )
        .properties(height=max(HEIGHT // 2, ROW_HEIGHT * len(rows) + 40))
    )
    return chart


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
    legend = alt.Legend(orient="bottom", columns=3, title=None, labelLimit=200)
    return alt.Color(f"{group}:N", scale=alt.Scale(domain=domain, range=scale), legend=legend)


def count_axis() -> alt.Axis:
    """Return the axis of a count: whole numbers, with thousands apart."""
    return alt.Axis(format=",d", tickMinStep=1)


def _chart() -> alt.Chart:
    return alt.Chart(alt.NamedData(name="rows"))
