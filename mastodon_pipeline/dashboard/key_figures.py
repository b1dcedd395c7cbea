"""The page's first numbers: toots and active accounts, each against the time before."""

from dataclasses import dataclass
from datetime import datetime

from mastodon_pipeline.dashboard.counts import Counts
from mastodon_pipeline.dashboard.figure import View
from mastodon_pipeline.dashboard.periods import Span, last_hour, this_week, today


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number against the one before."""

    label: str
    number: int | None
    """None if it is not counted yet."""
    change: str | None
    """In percent."""
    help: str
    """What is counted, against which number."""


def toots_figure(counts: Counts, view: View, number: int) -> KeyFigure:
    """Count the toots of one of the `toots_spans`. Raises PipelineError or duckdb.Error."""
    label, span, before = toots_spans(view)[number]
    with counts.reading():
        toots = counts.toots_between(span, view.selection, view.now)
        earlier = counts.toots_between(before, view.selection, view.now)
    return KeyFigure(
        label=f"Toots: {label.lower()}",
        number=toots,
        change=change(toots, earlier),
        help=f"From {_moment(span.since)} to {_moment(span.until)}, UTC, against {earlier:,}"
        f" from {_moment(before.since)} to {_moment(before.until)}.",
    )


def toots_spans(view: View) -> tuple[tuple[str, Span, Span], ...]:
    """Return the spans whose toots are counted, each with the one before; the last is chosen."""
    return (
        ("Last hour", *last_hour(view.now)),
        ("Today", *today(view.now)),
        ("This week", *this_week(view.now)),
        ("Chosen period", view.period.span, view.period.before),
    )


def account_figures(counts: Counts, view: View) -> tuple[KeyFigure, ...]:
    """Count the active accounts. Raises PipelineError or duckdb.Error."""
    [row] = counts.accounts(view.selection, view.now)
    whose = {"with": "accounts", "without": "people", "only": "bots"}[view.selection.bots]
    return tuple(
        KeyFigure(
            label=f"Active {whose} {label}",
            number=row[now],
            change=change(row[now], row[before]),
            help=f"Distinct {whose} that posted, against {row[before]:,} in {when}. Counted by day"
            " (UTC), by home server; built every few minutes.",
        )
        for label, now, before, when in (
            ("today", "today", "yesterday", "the whole day before"),
            ("in 7 days", "week", "week_before", "the seven days before"),
            ("in 28 days", "month", "month_before", "the 28 days before"),
        )
    )


def change(now: int | None, before: int) -> str | None:
    """Return how a number has changed, in percent; None without one of the two."""
    if now is None or not before:
        return None
    return f"{100 * (now - before) / before:+.1f} %"


def _moment(moment: datetime) -> str:
    return f"{moment:%a %d %b %H:%M}"
