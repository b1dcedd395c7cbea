"""The page's figures, in their order."""

from collections.abc import Callable

from mastodon_pipeline.dashboard import charts
from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.figure import MOST, Chart, Figure, View, filters_followed
from mastodon_pipeline.dashboard.periods import (
    DAY,
    HOURLY_DAYS,
    Period,
    Span,
    start_of_day,
)
from mastodon_pipeline.dashboard.rising import RISING, RISING_WORDS
from mastodon_pipeline.usage.tables.languages import language_names

LEAST_TOOTS = 5
"""Of a language, for quartiles of its lengths."""
WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_NOT_BUILT = "The daily tables of this period are not built yet: they follow within minutes."
_SHORT = f"periods of up to {HOURLY_DAYS} days"


def _at_least(view: View, days: int) -> Period:
    """Return the view's period, begun earlier where it is shorter than some days."""
    since = start_of_day(view.period.span.until.date()) - (days - 1) * DAY
    span = Span(min(view.period.span.since, since), view.period.span.until)
    return Period(span, view.period.before, "day", view.period.running)


def _ignored(view: View, *, of_days: tuple[str, ...]) -> str:
    """Return which filters a figure of daily tables leaves out; of `toots` it leaves out none."""
    short = view.period.length <= HOURLY_DAYS * DAY
    if short:
        return ""
    followed = {name: name in of_days for name in ("servers", "languages", "bots")}
    text = filters_followed(view, **followed)
    return f"{text} In {_SHORT} it follows them." if text else ""


def _named(rows: list[Row]) -> list[Row]:
    """Return rows with the languages' names in front."""
    names = language_names()
    return [
        {"language": names.get(row["code"], row["code"]) if row["code"] else "unknown", **row}
        for row in rows
    ]


def _draw_toots(rows: list[Row], view: View) -> Chart:
    return charts.stacked_over_time(rows, view.period.step, "server", "toots")


def _bars(name: str) -> Callable[[list[Row], View], Chart]:
    return lambda rows, _: charts.bars(rows, name, "toots")


TOOTS = Figure(
    name="toots",
    title=lambda view: f"Toots per {view.period.step} by server",
    counted=lambda view: (
        "Public top-level toots by their author's home server and when they were posted (UTC), up"
        " to a few seconds ago." + _ignored(view, of_days=("servers",))
    ),
    rows=lambda counts, view: counts.toots_by_server(view.period, view.selection, view.now),
    chart=_draw_toots,
    refresh_seconds=5,
    wide=True,
)


def _accounts(counts: Counts, view: View) -> list[Row]:
    bots = view.selection.bots
    of = {"of_people": int(bots != "only"), "of_bots": int(bots != "without")}
    return counts.of_days("accounts", "active_users", _at_least(view, 14), view.selection, **of)


ACCOUNTS = Figure(
    name="active-accounts",
    title=lambda _: "Active accounts",
    counted=lambda view: (
        "Accounts with a public top-level toot on the day, in the seven, and in the 28 days that"
        " end with it. The first four weeks of a lake are low."
        + filters_followed(view, servers=True, languages=False, bots=True)
    ),
    rows=_accounts,
    chart=lambda rows, _: charts.lines(rows, "span", "accounts"),
    empty=_NOT_BUILT,
)
LANGUAGES = Figure(
    name="languages",
    title=lambda _: "Languages",
    counted=lambda view: (
        "Toots by the language that their author's client set."
        + _ignored(view, of_days=("languages",))
    ),
    rows=lambda counts, view: _named(
        counts.of_toots_or_days(
            "languages", "language_usage", view.period, view.selection, most=MOST
        )
    ),
    chart=_bars("language"),
)


def _hashtags(counts: Counts, view: View) -> list[Row]:
    if view.selection.by_toot and counts.over_toots(view.period, view.selection):
        return counts.of_toots_or_days(
            "hashtags", "hashtag_usage", view.period, view.selection, most=MOST
        )
    files = counts.hour_files("hashtag_usage", [view.period.span])
    if not files:
        return []
    return counts.rows_of_files("hashtags_of_hours", {"files": files, "most": MOST})


HASHTAGS = Figure(
    name="hashtags",
    title=lambda _: "Most used hashtags",
    counted=lambda view: (
        "Toots that have the hashtag, in any case and spelling, in the period's hours; deleted"
        " ones are left out." + _ignored(view, of_days=())
    ),
    rows=_hashtags,
    chart=_bars("hashtag"),
    empty="No toot of this period has a hashtag.",
    refresh_seconds=300,
)


APPS = Figure(
    name="apps",
    title=lambda _: "Apps",
    counted=lambda view: (
        "Toots by the application that posted them. Only home servers that are listened to name"
        " it; other toots are left out." + _ignored(view, of_days=())
    ),
    rows=lambda counts, view: counts.of_toots_or_days(
        "apps", "app_usage", view.period, view.selection, most=MOST
    ),
    chart=_bars("app"),
    empty="No followed server has named the application of a toot in this period.",
)


def _rhythm(counts: Counts, view: View) -> list[Row]:
    rows = counts.of_days(
        "rhythm_of_days", "hour_of_day_usage", _at_least(view, 28), view.selection
    )
    return [{**row, "weekday": WEEKDAYS[row["weekday"] - 1]} for row in rows]


RHYTHM = Figure(
    name="rhythm",
    title=lambda _: "Weekdays and hours",
    counted=lambda view: (
        "Toots in an hour of the week (UTC), on average of the period, or of the four weeks that"
        " end with it." + filters_followed(view, servers=False, languages=False, bots=False)
    ),
    rows=_rhythm,
    chart=lambda rows, _: charts.heat_map(rows, WEEKDAYS),
    empty=_NOT_BUILT,
    refresh_seconds=300,
)
TERMS = Figure(
    name="terms",
    title=lambda _: "Words of TERMS",
    counted=lambda view: (
        "Toots of a day whose text mentions the word, as far as it is kept. The setting TERMS names"
        " the words; days that were built before keep theirs."
        + filters_followed(view, servers=False, languages=False, bots=False)
    ),
    rows=lambda counts, view: counts.of_days(
        "terms", "term_mentions", _at_least(view, 14), view.selection
    ),
    chart=lambda rows, _: charts.lines(rows, "term", "toots"),
    empty=f"{_NOT_BUILT} If they are, TERMS names no word: set it in .env.",
)


def _lengths(counts: Counts, view: View) -> list[Row]:
    most = {"most": MOST, "least": LEAST_TOOTS}
    if view.period.length > HOURLY_DAYS * DAY:
        rows = counts.of_days(
            "lengths_of_day", "language_density", view.period, view.selection, **most
        )
    else:
        rows = counts.of_toots("lengths_of_toots", view.period, view.selection, **most)
    return _named(rows)


LENGTHS = Figure(
    name="lengths",
    title=lambda _: "Length of toots by language",
    counted=lambda view: (
        "Characters of the plain text: half of a language's toots are within the bar, and half are"
        f" shorter than the mark. Languages with at least {LEAST_TOOTS} toots."
        + (" Of the period's last day." if view.period.length > HOURLY_DAYS * DAY else "")
        + _ignored(view, of_days=("languages",))
    ),
    rows=_lengths,
    chart=lambda rows, _: charts.quartiles(rows, "language"),
    refresh_seconds=300,
)
FIGURES = (
    *(TOOTS, LANGUAGES, RISING, HASHTAGS, RISING_WORDS, ACCOUNTS),
    *(RHYTHM, APPS, LENGTHS, TERMS),
)
