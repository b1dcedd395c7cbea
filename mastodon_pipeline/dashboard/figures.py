"""The page's figures, in their order."""

from mastodon_pipeline.dashboard import charts
from mastodon_pipeline.dashboard.counts import Counts, Row
from mastodon_pipeline.dashboard.figure import Chart, Figure, View, filters_followed

_EACH = {"minute": "minute", "hour": "hour", "day": "day"}


def _toots(counts: Counts, view: View) -> list[Row]:
    return counts.toots_by_server(view.period, view.selection, view.now)


def _draw_toots(rows: list[Row], view: View) -> Chart:
    return charts.stacked_over_time(rows, view.period.step, "server", "toots", "toots")


TOOTS = Figure(
    name="toots",
    title=lambda view: f"Toots per {_EACH[view.period.step]} by server",
    counted=lambda view: (
        "Public top-level toots by their author's home server and when they were posted (UTC),"
        " up to a few seconds ago."
        + filters_followed(view, servers=True, languages=False, bots=False)
    ),
    rows=_toots,
    chart=_draw_toots,
    refresh_seconds=5,
    wide=True,
)
FIGURES: tuple[Figure, ...] = (TOOTS,)
