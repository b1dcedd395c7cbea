"""Puts the page together."""

import csv
import io
from dataclasses import replace
from datetime import UTC, datetime
from time import sleep
from typing import Any
from urllib.parse import urlencode

import duckdb
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from mastodon_pipeline.dashboard import charts
from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.figure import Figure, View
from mastodon_pipeline.dashboard.figures import FIGURES
from mastodon_pipeline.dashboard.filters import choose
from mastodon_pipeline.dashboard.health import HealthReader
from mastodon_pipeline.dashboard.health_strip import show_health
from mastodon_pipeline.dashboard.key_figures import (
    KeyFigure,
    account_figures,
    toots_figure,
    toots_spans,
)
from mastodon_pipeline.dashboard.lake_reader import open_counts
from mastodon_pipeline.dashboard.periods import DAY
from mastodon_pipeline.dashboard.selection import Selection, parameters_of
from mastodon_pipeline.errors import BucketMissing, PipelineError
from mastodon_pipeline.settings import load_settings

REFRESH_SECONDS = 15
"""Of a page whose period is running."""
DRAWING_SECONDS = 0.25
"""Nothing follows the first numbers and the first figure for this long, once for each visitor.

While anything is still to be loaded, the browser's library (React) waits up to half a second with
showing what is: it would draw the numbers with the last of the figures.
"""
_STYLE = """
[data-stale] { opacity: 1 !important; transition: none !important; }
[data-testid=stMainBlockContainer] { padding-top: 3.5rem; }
"""
"""Figures keep their colours while newer numbers are being counted."""


def show_page() -> None:
    """Show everything, or what to do where nothing can be shown."""
    st.html(f"<style>{_STYLE}</style>")
    st.title("What is posted on the Fediverse", anchor=False)
    try:
        counts = shared_counts()
        if counts.is_empty():
            _show_empty()
            return
        now = datetime.now(UTC)
        selection = choose(counts.servers(now), counts.languages(now), now.date())
    except (PipelineError, duckdb.Error) as error:
        _show_problem(error)
        return
    running = selection.period(now).running

    @st.fragment(run_every=REFRESH_SECONDS if running else None)
    def body() -> None:
        try:
            _show_body(counts, selection)
        except (PipelineError, duckdb.Error) as error:
            _show_problem(error)

    body()


def prepare() -> None:
    """Count what the first visitor sees. Raises PipelineError or duckdb.Error as counting does."""
    prepare_first_numbers(selection := Selection())
    counts, now = shared_counts(), datetime.now(UTC)
    view = View(selection, selection.period(now), now)
    for figure in FIGURES:
        _rows(counts, figure, view, figure.name, selection=selection, age=figure.age())


def prepare_first_numbers(selection: Selection) -> None:
    """Count what a page shows first. Raises as `prepare` does.

    Not the toots of its own period: the page would wait for a long one before it shows anything.
    """
    shared_health().latest()
    counts, now = shared_counts(), datetime.now(UTC)
    counts.servers(now)
    counts.languages(now)
    view = View(selection, selection.period(now), now)
    cut = counts.cut()
    for place in range(len(toots_spans(view)) - 1):
        _toots_figure(counts, view, place, cut=cut, selection=selection)
    _account_figures(counts, view, cut=cut, selection=selection)


@st.cache_resource(show_spinner=False)
def shared_health() -> HealthReader:
    """Read Dagster's storage once for all visitors."""
    return HealthReader()


@st.cache_resource(show_spinner=False)
def shared_counts() -> Counts:
    """Open the lake once for all visitors."""
    return open_counts(load_settings())


def _show_body(counts: Counts, selection: Selection) -> None:
    now = datetime.now(UTC)
    view = View(selection, selection.period(now), now)
    if not _show_key_figures(counts, view):
        _show_counted_days(counts, selection)
    if problem := counts.live().problem:
        st.info("Counted from the tables alone, which are up to a minute behind.")
        st.text(problem)
    first = "drawn" not in st.session_state
    if first:
        sleep(DRAWING_SECONDS)
    for figure in (figure for figure in FIGURES if figure.wide):
        _show_figure(counts, figure, view)
    if first:
        sleep(DRAWING_SECONDS)
        st.session_state.drawn = True
    show_health(shared_health().latest(), counts.newest_hour(now), counts.coverage(now), now)
    columns = st.columns(2)
    for number, figure in enumerate(figure for figure in FIGURES if not figure.wide):
        with columns[number % 2]:
            _show_figure(counts, figure, view)
    st.caption(f"As of {now:%Y-%m-%d %H:%M:%S} UTC.")


def _show_key_figures(counts: Counts, view: View) -> int:
    """Show the first numbers, and return how many toots are in the chosen period."""
    cut, toots = counts.cut(), 0
    for place, column in enumerate(st.columns(len(toots_spans(view)))):
        figure = _toots_figure(counts, view, place, cut=cut, selection=view.selection)
        _show_key_figure(column, figure)
        toots = figure.number or 0
    accounts = _account_figures(counts, view, cut=cut, selection=view.selection)
    for column, figure in zip(st.columns(len(accounts)), accounts, strict=True):
        _show_key_figure(column, figure)
    return toots


def _show_counted_days(counts: Counts, selection: Selection) -> None:
    """Lead from a period without toots to the days that have some, if there are others."""
    days = counts.counted_days()
    if days is None or days == (selection.first, selection.last):
        return
    first, last = days
    shown = replace(selection, period_name="range", first=max(first, last - 89 * DAY), last=last)
    st.info(
        f"Nothing was counted in this period. There are toots from {first} to {last} (UTC):"
        f" [show them](?{urlencode(parameters_of(shown), doseq=True)})."
    )


def _show_key_figure(column: DeltaGenerator, figure: KeyFigure) -> None:
    column.metric(
        figure.label,
        "not yet" if figure.number is None else f"{figure.number:,}",
        figure.change,
        help=figure.help,
        border=True,
        height="stretch",
    )


def _show_figure(counts: Counts, figure: Figure, view: View) -> None:
    rows = _rows(counts, figure, view, figure.name, selection=view.selection, age=figure.age())
    with st.container(border=True):
        st.subheader(figure.title(view), anchor=False)
        if rows:
            spec = charts.spec(figure.chart(rows, view), rows)
            st.vega_lite_chart(spec, width="stretch", key=f"chart-{figure.name}")
        else:
            st.info(figure.empty)
        st.caption(figure.counted(view))
        if rows:
            st.download_button(
                "CSV",
                as_csv(rows),
                f"{figure.name}.csv",
                "text/csv",
                key=f"csv-{figure.name}",
                on_click="ignore",
                type="tertiary",
                icon=":material/download:",
            )


@st.cache_data(max_entries=40, show_spinner=False)
def _toots_figure(
    _counts: Counts, _view: View, place: int, cut: int, selection: Selection
) -> KeyFigure:
    """Return a number of toots of a cut, from the cache where another visitor has asked for it."""
    return toots_figure(_counts, _view, place)


@st.cache_data(max_entries=10, show_spinner=False)
def _account_figures(
    _counts: Counts, _view: View, cut: int, selection: Selection
) -> tuple[KeyFigure, ...]:
    """Return the numbers of accounts, from the cache as the others."""
    return account_figures(_counts, _view)


@st.cache_data(max_entries=100, show_spinner=False)
def _rows(
    _counts: Counts, _figure: Figure, _view: View, name: str, selection: Selection, age: int
) -> list[Row]:
    """Return a figure's rows, from the cache where another visitor has just asked for them."""
    return _figure.rows(_counts, _view)


def as_csv(rows: list[Row]) -> str:
    """Return rows as CSV. What a spreadsheet would take for a formula begins with a quote."""
    text = io.StringIO()
    columns = [name for name in rows[0] if name != "order"]
    writer = csv.writer(text)
    writer.writerow(columns)
    writer.writerows([_cell(row[name]) for name in columns] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """See: https://owasp.org/www-community/attacks/CSV_Injection"""
    if isinstance(value, str) and value[:1] in tuple("=+-@\t\r"):
        return f"'{value}"
    return value


def _show_empty() -> None:
    st.info("Nothing is counted yet.")
    st.markdown(
        "* With servers to listen to: `make up SERVERS=mastodon.social`; the first toots are here"
        " within half a minute.\n"
        "* To see everything at work with simulated servers: `make demo`.\n"
        "* Files of the past: `mastodon-pipeline replay 'files/*.parquet'`, or"
        " `mastodon-pipeline backfill SERVER --since 2026-01-01`.\n"
        "* If it stays empty: `mastodon-pipeline doctor` says what is missing."
    )


def _show_problem(error: Exception) -> None:
    if isinstance(error, BucketMissing):
        _show_empty()
        return
    st.error("The lake cannot be read.")
    # Plain text: it may name what a person has typed, or a server has answered.
    st.text(str(error) if isinstance(error, PipelineError) else "The object store has failed.")
    st.markdown("`make up` starts the stack, and `mastodon-pipeline doctor` says what is wrong.")
