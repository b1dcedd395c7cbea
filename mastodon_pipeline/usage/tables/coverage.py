"""`server_coverage`: what was counted of each server, beside what it reports of itself."""

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.replacing import no_inputs
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.checks.coverage import COVERAGE_IS_PLAUSIBLE
from mastodon_pipeline.usage.tables.building import build_partition, count_rows
from mastodon_pipeline.usage.tables.server_activity import WEEK, ServerReport, fetch_server_reports
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table


def build_server_coverage(
    lake: Lake, day: date, today: date, fetch_reports: Callable[[], Sequence[ServerReport]]
) -> BuiltPartition:
    """Build one UTC day from the servers' reports of that day and the hours as they now are.

    Servers report about the past, but cannot be asked in the past: if `day` is not `today`, its
    table stays as it was written on the day, and has no rows if nobody asked then.
    """
    path = SERVER_COVERAGE.path(lake.layout, day)
    if day != today and lake.parquet_files(path):
        note = f"{path} is left unchanged: servers can be asked today only"
        return BuiltPartition(path, count_rows(lake, path), 0, unchanged=True, notes=(note,))
    reports = fetch_reports() if day == today else ()
    first = min((week.first_day for report in reports for week in report.weeks), default=day)
    files = [
        file.path
        for days_ago in range((day - first).days + 1)
        for file in lake.parquet_files(lake.layout.toots_per_server_day(day - timedelta(days_ago)))
    ]
    values = {
        "reports": [row for report in reports for row in _report_rows(report)],
        "counted": _count_by_day(lake, files, sorted({report.domain for report in reports})),
        "day": day,
        "last_day": WEEK.days - 1,
    }
    built = build_partition(lake, SERVER_COVERAGE, path, no_inputs, lambda _: values)
    notes = tuple(
        f"{report.base_url} reports no figures: {report.reason}"
        for report in reports
        if report.reason
    )
    return BuiltPartition(path, built.rows, len(files), notes=notes)


def _build(lake: Lake, day: date) -> BuiltPartition:
    today = datetime.now(UTC).date()

    def fetch() -> Sequence[ServerReport]:
        settings = load_settings()
        return fetch_server_reports(settings.servers(), settings, today)

    return build_server_coverage(lake, day, today, fetch)


def _path(layout: Layout, day: date) -> str:
    return layout.daily("server_coverage", day)


def _count_by_day(lake: Lake, files: list[str], servers: list[str]) -> list[dict[str, object]]:
    if not files:
        return []
    values = {"usage_files": files, "servers": servers}
    rows = lake.connection.execute(query("usage/tables/counted_by_day"), values).fetchall()
    names = ("server", "day", "toots", "hours")
    return [dict(zip(names, row, strict=True)) for row in rows]


def _report_rows(report: ServerReport) -> list[dict[str, object]]:
    server = {"base_url": report.base_url, "server": report.domain, "reason": report.reason}
    if not report.weeks:
        return [{**server, "first_day": None, "reported": None}]
    return [
        {**server, "first_day": week.first_day, "reported": week.statuses} for week in report.weeks
    ]


SERVER_COVERAGE: Table[date] = Table(
    name="server_coverage",
    grain=Grain.DAY,
    description="""Toots counted of each configured server, beside the statuses that it reports of
    itself.

    The servers are asked once on each UTC day (`/api/v1/instance/activity`): eleven weeks, each the
    six days that Mastodon sums, and the hours as they were then. A server reports its own accounts'
    public and unlisted statuses with replies to others and boosts, and those deleted since. Counted
    are the public top-level toots among them. So the share is well below 1 if all is well; compare
    it with the same server's other weeks. `hours_heard` shows which part of a week was listened to.
    A server that refuses, or has its figures switched off, is a row with the reason. Servers cannot
    be asked in the past: other days than today stay as they were written.
    """,
    sources=("toots_per_server_per_hour", "mastodon_servers"),
    # Columns made from no column come from the servers' answers.
    columns=(
        Column("day", "DATE", "The UTC day on which the servers were asked"),
        Column("server", "VARCHAR", "The domain in the server's accounts' addresses"),
        Column("base_url", "VARCHAR", "Where it was asked"),
        Column(
            "first_day", "DATE", "First UTC day of the figures; null if the server reported none"
        ),
        Column("last_day", "DATE", "Last UTC day of the figures: Mastodon's weeks sum six days"),
        Column(
            "reported",
            "BIGINT",
            "Public and unlisted statuses of its own accounts, as it reports them: replies, boosts"
            " and those deleted since included",
        ),
        Column(
            "toots",
            "BIGINT",
            "Public top-level toots of its accounts that were counted",
            ("toots", "server", "hour"),
        ),
        Column(
            "share",
            "DOUBLE",
            "toots / reported; null if nothing was reported",
            ("toots", "server", "hour"),
        ),
        Column(
            "hours_heard",
            "INTEGER",
            "Hours, of 144, in which at least one of its toots was counted",
            ("server", "hour"),
        ),
        Column("reason", "VARCHAR", "Why the server reported no figures; '' if it did"),
    ),
    checks=(COVERAGE_IS_PLAUSIBLE,),
    path=_path,
    build=_build,
    kinds=frozenset({"mastodon"}),
)
