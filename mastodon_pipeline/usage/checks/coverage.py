"""The check of `server_coverage`: is it plausible, against what the servers report?"""

from collections.abc import Iterable
from datetime import date

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import Check, Finding

MIN_STATUSES = 50
"""A server's week with fewer proves nothing: one busy account changes the share."""
MIN_EARLIER_WEEKS = 2
"""Earlier weeks that the newest one is compared with, at least."""
MIN_SHARE_OF_EARLIER = 0.5
"""The newest week's share, as a part of the earlier weeks' median share, that raises no alarm."""


def coverage_is_plausible(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Find servers of which more is counted than they report, or much less than before.

    Allowed are 1 % and one toot more, since a toot of midnight may fall on either day, and half of
    the median share of the server's earlier weeks.
    """
    compared, skipped = 0, 0
    faults: list[str] = []
    for day in days:
        path = lake.layout.daily(table, day)
        if not lake.parquet_files(path):
            continue
        ((reporting, silent),) = lake.connection.execute(
            query("usage/checks/servers_in_coverage"), {"coverage_file": path}
        ).fetchall()
        compared, skipped = compared + reporting, skipped + silent
        values = {
            "coverage_file": path,
            "min_statuses": MIN_STATUSES,
            "min_earlier_weeks": MIN_EARLIER_WEEKS,
            "min_share_of_earlier": MIN_SHARE_OF_EARLIER,
        }
        for server, first, last, toots, reported, earlier_share in lake.connection.execute(
            query("usage/checks/coverage_faults"), values
        ).fetchall():
            counts = f"{server}, {first} to {last}: {toots} toots of {reported} reported statuses"
            faults.append(
                f"{counts}, more than there are"
                if earlier_share is None
                else f"{counts} ({toots / reported:.1%}), earlier {earlier_share:.1%}"
            )
    return Finding(compared, tuple(faults), skipped, "they report no figures", "servers")


COVERAGE_IS_PLAUSIBLE: Check[date] = Check(
    "coverage_is_plausible",
    "No more toots are counted of a server than it reports statuses, and its newest week's share is"
    " not below half of the earlier weeks' median.",
    coverage_is_plausible,
    warn_only=True,
)
