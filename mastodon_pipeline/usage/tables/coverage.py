"""`server_coverage`: what was counted of each server, beside what it reports of itself."""

from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.tables import Finding
from mastodon_pipeline.usage.tables.building import BuiltTable, count_rows, write_table
from mastodon_pipeline.usage.tables.server_activity import WEEK, ServerReport

TABLE = "server_coverage"
ENOUGH_STATUSES = 50
"""A server's week with fewer says nothing: one busy account changes the share."""
ENOUGH_WEEKS = 2
"""Former weeks that the newest one is held against, at least."""
LEAST_OF_FORMER = 0.5
"""The newest week's share, as a part of the former weeks' median share, that raises no alarm."""


def build_server_coverage(
    lake: Lake, day: date, today: date, ask: Callable[[], Sequence[ServerReport]]
) -> BuiltTable:
    """The table of one UTC day, from the answers of that day and the hours as they now stand.

    Servers can be asked about the past, but not in the past: where `day` is not `today`, its table
    is kept as it was written on the day, and has no rows where nobody asked then.
    """
    path = lake.layout.daily(TABLE, day)
    if day != today and lake.parquet_files(path):
        return BuiltTable(path, count_rows(lake, path), 0, kept=True)
    reports = ask() if day == today else ()
    first = min((week.first_day for one in reports for week in one.weeks), default=day)
    files = [
        file.path
        for back in range((day - first).days + 1)
        for file in lake.parquet_files(lake.layout.toots_per_server_day(day - timedelta(back)))
    ]
    values = {
        "reports": [row for one in reports for row in _rows(one)],
        "counted": _counted(lake, files, sorted({one.domain for one in reports})),
        "day": day,
        "last_day": WEEK.days - 1,
    }
    return BuiltTable(path, write_table(lake, TABLE, path, values), len(files))


def coverage_is_plausible(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """No more is counted of a server than it reports, and its newest week not much less than ever.

    Allowed are 1 % and one toot more, since a toot of midnight may fall on either day, and half of
    the share that its former weeks have in the median.
    """
    compared, unsettled = 0, 0
    faults: list[str] = []
    for day in days:
        path = lake.layout.daily(table, day)
        if not lake.parquet_files(path):
            continue
        ((reporting, silent),) = lake.connection.execute(
            query("usage/checks/servers_in_coverage"), {"coverage_file": path}
        ).fetchall()
        compared, unsettled = compared + reporting, unsettled + silent
        values = {
            "coverage_file": path,
            "enough_statuses": ENOUGH_STATUSES,
            "enough_weeks": ENOUGH_WEEKS,
            "least_of_former": LEAST_OF_FORMER,
        }
        for server, first, last, toots, reported, former in lake.connection.execute(
            query("usage/checks/coverage_faults"), values
        ).fetchall():
            told = f"{server}, {first} to {last}: {toots} toots of {reported} reported statuses"
            faults.append(
                f"{told}, more than there are"
                if former is None
                else f"{told} ({toots / reported:.1%}), formerly {former:.1%}"
            )
    return Finding(compared, tuple(faults), unsettled)


def _counted(lake: Lake, files: list[str], servers: list[str]) -> list[dict[str, object]]:
    if not files:
        return []
    values = {"usage_files": files, "servers": servers}
    found = lake.connection.execute(query("usage/tables/counted_by_day"), values).fetchall()
    names = ("server", "day", "toots", "hours")
    return [dict(zip(names, row, strict=True)) for row in found]


def _rows(report: ServerReport) -> list[dict[str, object]]:
    told = {"base_url": report.base_url, "server": report.domain, "reason": report.reason}
    if not report.weeks:
        return [{**told, "first_day": None, "reported": None}]
    return [
        {**told, "first_day": week.first_day, "reported": week.statuses} for week in report.weeks
    ]
