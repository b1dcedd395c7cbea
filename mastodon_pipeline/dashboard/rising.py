"""The figures of what rises: hashtags and words that are more frequent than on the days before."""

from collections.abc import Callable
from datetime import timedelta
from math import ceil

from mastodon_pipeline.dashboard import charts
from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.figure import MOST, Figure, View, filters_followed
from mastodon_pipeline.dashboard.periods import DAY, HOUR, Span
from mastodon_pipeline.dashboard.selection import Selection

LEAST_RISING = 3
LEAST_ACCOUNTS = 5
"""Of a word that is shown, so that it leads to nobody."""
READ_TOOTS = 20_000
"""Of the window in which words may rise; with the days before, 80,000 take 1.7 s of CPU."""
RISING_WINDOWS = 3


def _rising_window(view: View) -> Span:
    """Return the hours in which something may rise: the period's last ones, a day at most."""
    end = view.period.span.until - timedelta(microseconds=1)
    last = end.replace(minute=0, second=0, microsecond=0)
    hours = 2 if view.period.step == "minute" else 24
    return Span(last - (hours - 1) * HOUR, last + HOUR)


def _last_hours(counts: Counts, view: View, window: Span) -> Span:
    """Return as many of a window's last hours as hold `READ_TOOTS`, one at least."""
    hours = (window.until - window.since) // HOUR
    while hours > 1 and counts.toots_between(window, Selection(), view.now) > READ_TOOTS:
        hours //= 2
        window = Span(window.until - hours * HOUR, window.until)
    return window


def _windows_before(window: Span) -> list[Span]:
    return [window.back(day * DAY) for day in range(1, RISING_WINDOWS + 1)]


def _one_in(counts: Counts, view: View, window: Span) -> int:
    """Return of how many toots one is read, so that a busy hour takes no longer than others."""
    windows = [window, *_windows_before(window)]
    toots = sum(counts.toots_between(span, Selection(), view.now) for span in windows)
    return max(1, ceil(toots / (len(windows) * READ_TOOTS)))


def _rising(
    name: str, table: str, bounded: bool = False, **values: object
) -> Callable[[Counts, View], list[Row]]:
    """Return what counts a period's last hours of an hourly table, beside those of days before.

    `bounded`: only as many of them as can be read within seconds.
    """

    def rows(counts: Counts, view: View) -> list[Row]:
        window = _rising_window(view)
        bound: dict[str, object] = {}
        if bounded:
            window = _last_hours(counts, view, window)
            bound = {"one_in": _one_in(counts, view, window)}
        files = counts.hour_files(table, [window])
        earlier = [counts.hour_files(table, [span]) for span in _windows_before(window)]
        windows = sum(bool(part) for part in earlier)
        if not files or not windows:
            return []
        files += [file for part in earlier for file in part]
        spans = {"files": files, "since": window.since, "windows": windows}
        return counts.rows_of_files(name, {**spans, "most": MOST, **bound, **values})

    return rows


def _about_rising(what: str) -> Callable[[View], str]:
    def about(view: View) -> str:
        hours = int((_rising_window(view).until - _rising_window(view).since) / HOUR)
        return (
            f"Toots with the {what} in the period's last {hours} hours, where they are more than in"
            f" the same hours of the {RISING_WINDOWS} days before, on average (the mark); the most"
            " unlikely first. The running hour is compared with whole ones."
            + filters_followed(view, servers=False, languages=False, bots=False)
        )

    return about


RISING = Figure(
    name="rising-hashtags",
    title=lambda _: "Rising hashtags",
    counted=_about_rising("hashtag"),
    rows=_rising("rising_hashtags", "hashtag_usage", least=LEAST_RISING),
    chart=lambda rows, _: charts.bars_with_marks(rows, "hashtag", "toots", "expected"),
    empty="Nothing rises, or no day before is counted yet.",
    refresh_seconds=120,
)
RISING_WORDS = Figure(
    name="rising-words",
    title=lambda _: "Rising words",
    counted=lambda view: (
        f"{_about_rising('word')(view)} Words that at least {LEAST_ACCOUNTS} accounts have used, of"
        f" scripts with spaces between words. Fewer hours if these have over {READ_TOOTS:,} toots,"
        " and of busier hours a sample: every n-th toot, counted n times."
    ),
    rows=_rising("rising_words", "toots", bounded=True, accounts=LEAST_ACCOUNTS),
    chart=lambda rows, _: charts.bars_with_marks(rows, "word", "toots", "expected"),
    empty="Nothing rises, or no day before is counted yet.",
    refresh_seconds=300,
)
