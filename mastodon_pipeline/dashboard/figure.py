"""A figure of the page: what it counts in words, its rows, and how they are drawn."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from time import time

import altair as alt

from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.periods import Period
from mastodon_pipeline.dashboard.selection import Selection

MOST = 12
"""Bars of a figure."""
Chart = alt.Chart | alt.LayerChart


@dataclass(frozen=True, slots=True)
class View:
    """What a figure is asked for."""

    selection: Selection
    period: Period
    now: datetime


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure, the same for every visitor who asks for the same view."""

    name: str
    """Of its files when they are saved, and its place in the page."""
    title: Callable[[View], str]
    counted: Callable[[View], str]
    """What is counted, and which filters it follows: a sentence or two."""
    rows: Callable[[Counts, View], list[Row]]
    """Its numbers, as they are saved as CSV."""
    chart: Callable[[list[Row], View], Chart]
    empty: str = "Nothing was counted in this period: choose a longer one."
    """What it says without rows."""
    refresh_seconds: float = 60.0
    """Its rows are read again after this."""
    wide: bool = False
    """Over both columns of the page."""

    def age(self) -> int:
        """Return a number that is another one when its rows are to be read again."""
        return int(time() // self.refresh_seconds)


def filters_followed(view: View, *, servers: bool, languages: bool, bots: bool) -> str:
    """Return a sentence about the chosen filters that a figure does not follow; '' if none."""
    selection = view.selection
    ignored = [
        name
        for name, chosen, followed in (
            ("servers", bool(selection.servers), servers),
            ("languages", bool(selection.languages), languages),
            ("bots", selection.bots != "with", bots),
        )
        if chosen and not followed
    ]
    if not ignored:
        return ""
    return f" Not filtered by {' and '.join(ignored)}: this table does not count by them."
