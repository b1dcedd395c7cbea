"""The check `all_servers_reporting`: is every configured server followed, and does it post?

It fails (ERROR) if a configured server is silent for longer than its own rhythm explains (the rule
is in `rhythm`), if no listener follows it, or if this machine's clock is wrong; it warns if a
server is parked, or has been silent for a day while too little is known of it. A server is not
judged within two minutes of a change of the configuration or of the groups. Servers that are not
configured are ignored.
"""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from mastodon_pipeline.asset_keys import TOPIC_ASSET
from mastodon_pipeline.check_events import check_event
from mastodon_pipeline.listening.client.clock import wrong_clock
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS
from mastodon_pipeline.listening.supervising.reports import (
    GroupReport,
    ServerReport,
    format_duration,
    latest_by_feed,
    load_reports,
)
from mastodon_pipeline.listening.supervising.runs import load_assignments
from mastodon_pipeline.listening.supervising.server_table import servers_metadata
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import load_settings

CHECK_NAME = "all_servers_reporting"
CHECK = dg.AssetCheckKey(TOPIC_ASSET, CHECK_NAME)
FRESH_REPORT_SECONDS = 120.0
"""Reports are written every 30 s, and a dead listener is back within 60 s."""
MAX_SERVERS_NAMED = 10
MAX_SERVERS_SHOWN = 20
"""In the table of a result: about 15 KB, because there are more than a hundred results a day."""

Level = Literal["ok", "warning", "error", "pending"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement of one configured server."""

    server: Server
    level: Level
    problem: str = ""
    report: ServerReport | None = None


def judge(
    servers: Sequence[Server], reports: Sequence[GroupReport], changed_at: float, now: float
) -> list[Verdict]:
    """Return a verdict for each configured server, in the order given.

    `reports`: oldest first. `changed_at`: when the servers of any group changed last. Times in
    seconds since 1970, UTC.
    """
    latest = latest_by_feed(reports)
    settled = now - changed_at > FRESH_REPORT_SECONDS
    return [
        _judge_server(server, latest.get(feed_key(server.base_url, server.feed)), settled, now)
        for server in servers
    ]


def evaluate(instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """Return the check's result at this moment. Raises SettingsError if the settings are wrong."""
    now = time.time()
    return check_result(judge_configured(instance, load_settings().servers(), now), now)


def judge_configured(
    instance: dg.DagsterInstance, servers: Sequence[Server], now: float
) -> list[Verdict]:
    """Return a verdict for each of these servers, from what is in Dagster's storage."""
    assignments = load_assignments(instance, ALL_GROUPS).values()
    changed_at = max((a.changed_at for a in assignments if a is not None), default=0.0)
    return judge(servers, load_reports(instance, ALL_GROUPS), changed_at, now)


def clock_problem(verdicts: Iterable[Verdict]) -> str:
    """Return what is wrong with this machine's clock, by what followed servers state, or ''."""
    return wrong_clock(
        verdict.report.snapshot.clock_difference_seconds
        for verdict in verdicts
        if verdict.report is not None and verdict.report.snapshot.listening
    )


def check_result(verdicts: Sequence[Verdict], now: float) -> dg.AssetCheckResult:
    """Return what Dagster shows: which servers have a problem, and all servers, worst first."""
    errors = [verdict for verdict in verdicts if verdict.level == "error"]
    warnings = [verdict for verdict in verdicts if verdict.level == "warning"]
    reports = [verdict.report for verdict in verdicts if verdict.report is not None]
    problems = [*errors, *warnings]
    description = f"all {len(verdicts)} configured servers are reporting"
    if problems:
        description = f"{len(problems)} of {len(verdicts)} configured servers: {_named(problems)}"
    clock = clock_problem(verdicts)
    if clock:
        description = f"{clock}; {description}"
    return dg.AssetCheckResult(
        asset_key=TOPIC_ASSET,
        check_name=CHECK_NAME,
        passed=not problems and not clock,
        severity=dg.AssetCheckSeverity.ERROR if errors or clock else dg.AssetCheckSeverity.WARN,
        description=description,
        metadata={
            "configured": len(verdicts),
            "silent_or_not_followed": len(errors),
            "warnings": len(warnings),
            **servers_metadata(reports, now, MAX_SERVERS_SHOWN),
        },
    )


def report_evaluation(instance: dg.DagsterInstance) -> None:
    """Evaluate the check outside of its own job, and record the result.

    Raises SettingsError if the settings are wrong.
    """
    instance.report_runless_asset_event(check_event(evaluate(instance), CHECK))


@dg.asset_check(
    asset=TOPIC_ASSET,
    name=CHECK_NAME,
    description=(
        "Every configured server is followed by a listener, and none has been silent for longer "
        "than twice its longest pause of the past seven days (at least ten minutes). A parked "
        "server is a warning; so is a new server that has been silent for a day. This machine's "
        "clock is within two minutes of the servers'.\n\n"
        "If it fails: the table `servers` in the metadata has each server's problem and reason. "
        "Run `mastodon-pipeline servers` to ask the servers again. If no listener follows a "
        "server, the last tick of the sensor `listener_supervisor` says why."
    ),
)
def all_servers_reporting(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Judge the configured servers by what the listener runs reported."""
    return evaluate(context.instance)


def _judge_server(
    server: Server, latest: tuple[float, ServerReport] | None, settled: bool, now: float
) -> Verdict:
    if latest is None or now - latest[0] > FRESH_REPORT_SECONDS:
        report = latest[1] if latest else None
        if not settled:
            return Verdict(server, "pending", "its group has just changed", report)
        if latest is None:
            return Verdict(server, "error", "no listener has ever followed it")
        not_followed = f"no listener has followed it for {format_duration(now - latest[0])}"
        return Verdict(server, "error", not_followed, report)
    report = latest[1]
    problem = report.problem(now)
    if not problem:
        return Verdict(server, "ok", report=report)
    warning = report.parked or not report.rhythm.known
    return Verdict(server, "warning" if warning else "error", problem, report)


def _named(verdicts: Sequence[Verdict]) -> str:
    named = "; ".join(f"{v.server.name}: {v.problem}" for v in verdicts[:MAX_SERVERS_NAMED])
    more = len(verdicts) - MAX_SERVERS_NAMED
    return f"{named}; and {more} more" if more > 0 else named
