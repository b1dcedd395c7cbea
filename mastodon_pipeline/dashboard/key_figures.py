"""The page's first numbers: toots and active accounts, each against the time before."""

from dataclasses import dataclass
from datetime import datetime

from mastodon_pipeline.dashboard.counts import Counts
from mastodon_pipeline.dashboard.figure import View
from mastodon_pipeline.dashboard.periods import Span, last_hour, this_week, today


@dataclass(frozen=True, slots=True)
class KeyFigure:
    """A number as the page shows it."""

    label: str
    value: str
    change: str | None
    """In percent."""
    help: str
    """What is counted, against which number."""


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """All of a view, of one cut of the topic."""

    toots: tuple[KeyFigure, ...]
    accounts: tuple[KeyFigure, ...]
    in_period: int
    """Toots of the chosen period."""
    problem: str
    """Why toots that are only in Kafka are not counted; '' if they are."""


def key_figures(counts: Counts, view: View) -> KeyFigures:
    """Count the key figures of a view. Raises PipelineError or duckdb.Error as counting does."""
    with counts.reading():
        toots = [
            (
                label,
                span,
                counts.toots_between(span, view.selection, view.now),
                before,
                counts.toots_between(before, view.selection, view.now),
            )
            for label, span, before in _spans(view)
        ]
        problem = counts.live().problem
    *_, (_, _, in_period, _, _) = toots
    return KeyFigures(
        toots=tuple(
            KeyFigure(
                label=f"Toots: {label.lower()}",
                value=f"{number:,}",
                change=change(number, earlier),
                help=f"From {_moment(span.since)} to {_moment(span.until)}, UTC, against"
                f" {earlier:,} from {_moment(before.since)} to {_moment(before.until)}.",
            )
            for label, span, number, before, earlier in toots
        ),
        accounts=_accounts(counts, view),
        in_period=in_period,
        problem=problem,
    )


def _spans(view: View) -> tuple[tuple[str, Span, Span], ...]:
    return (
        ("Last hour", *last_hour(view.now)),
        ("Today", *today(view.now)),
        ("This week", *this_week(view.now)),
        ("Chosen period", view.period.span, view.period.before),
    )


def _accounts(counts: Counts, view: View) -> tuple[KeyFigure, ...]:
    [row] = counts.accounts(view.selection, view.now)
    whose = {"with": "accounts", "without": "people", "only": "bots"}[view.selection.bots]
    return tuple(
        KeyFigure(
            label=f"Active {whose} {label}",
            value=f"{row[now]:,}",
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


def change(now: int, before: int) -> str | None:
    """Return how a number has changed, in percent; None where nothing was before."""
    if not before:
        return None
    return f"{100 * (now - before) / before:+.1f} %"


def _moment(moment: datetime) -> str:
    return f"{moment:%a %d %b %H:%M}"
