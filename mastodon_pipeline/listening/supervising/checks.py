"""The check `wanted_servers_are_heard`: is every configured server listened to, and does it speak?

It fails (ERROR) where a wanted server is silent for longer than its own rhythm explains (the rule
is `rhythm`'s), or where no listener follows it; and warns where a server is parked, or has said
nothing for a day and too little is known of it. A server that was configured, or whose group
changed, within the last two minutes is not judged yet. Servers that are not wanted are ignored.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import dagster as dg

from mastodon_pipeline.listening.supervising.groups import ALL_GROUPS
from mastodon_pipeline.listening.supervising.observations import in_figures, servers_markdown
from mastodon_pipeline.listening.supervising.reports import (
    GroupReport,
    ServerReport,
    duration,
    read_reports,
    server_key,
)
from mastodon_pipeline.listening.supervising.runs import assignments_of
from mastodon_pipeline.listening.supervising.topic_asset import TOPIC_ASSET
from mastodon_pipeline.settings import Server, load_settings

CHECK_NAME = "wanted_servers_are_heard"
FRESH_SECONDS = 120.0
"""Reports are written every 30 s, and a dead listener is back within 60 s."""
_NAMED = 10

Level = Literal["heard", "warning", "error", "too soon to say"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One wanted server, judged."""

    server: Server
    level: Level
    why: str = ""
    report: ServerReport | None = None


def judge(
    wanted: Sequence[Server], reports: Sequence[GroupReport], changed_at: float, now: float
) -> list[Verdict]:
    """A verdict for each wanted server, in the order given.

    `changed_at`: when any group's servers changed last; as `now` seconds since 1970, UTC.
    """
    latest: dict[str, tuple[float, ServerReport]] = {}
    for group in sorted(reports, key=lambda group: group.written_at):
        for report in group.servers:
            latest[server_key(report.server, report.feed)] = group.written_at, report
    settled = now - changed_at > FRESH_SECONDS
    return [
        _judged(server, latest.get(server_key(server.name, server.feed)), settled, now)
        for server in wanted
    ]


def evaluate(instance: dg.DagsterInstance) -> dg.AssetCheckResult:
    """The check's result at this moment. Raises SettingsError."""
    now = time.time()
    noted = assignments_of(instance, ALL_GROUPS).values()
    changed_at = max((one.changed_at for one in noted if one is not None), default=0.0)
    wanted = load_settings().servers()
    return check_result(judge(wanted, read_reports(instance, ALL_GROUPS), changed_at, now), now)


def check_result(verdicts: Sequence[Verdict], now: float) -> dg.AssetCheckResult:
    """What Dagster shows: whose trouble it is, and all servers, the worst first."""
    errors = [verdict for verdict in verdicts if verdict.level == "error"]
    warnings = [verdict for verdict in verdicts if verdict.level == "warning"]
    heard = [verdict.report for verdict in verdicts if verdict.report is not None]
    troubled = [*errors, *warnings]
    told = f"{len(troubled)} of {len(verdicts)} wanted servers: {_named(troubled)}"
    return dg.AssetCheckResult(
        asset_key=TOPIC_ASSET,
        check_name=CHECK_NAME,
        passed=not troubled,
        severity=dg.AssetCheckSeverity.WARN if not errors else dg.AssetCheckSeverity.ERROR,
        description=told if troubled else f"all {len(verdicts)} wanted servers are heard",
        metadata={
            "silent_or_not_followed": len(errors),
            "warnings": len(warnings),
            "wanted": len(verdicts),
            "states": in_figures(heard),
            "servers": dg.MetadataValue.md(servers_markdown(heard, now)),
        },
    )


def report_evaluation(instance: dg.DagsterInstance) -> None:
    """Evaluates the check beside an observation, and notes the result at the asset."""
    result = evaluate(instance)
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=TOPIC_ASSET,
            check_name=CHECK_NAME,
            passed=result.passed,
            severity=result.severity,
            description=result.description,
            metadata=result.metadata,
        )
    )


@dg.asset_check(
    asset=TOPIC_ASSET,
    name=CHECK_NAME,
    description=(
        "Every wanted server is followed, and none is silent for longer than its own rhythm "
        "explains: twice its longest pause of the past seven days, ten minutes at least. A parked "
        "server is a warning."
    ),
)
def wanted_servers_are_heard(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Judges what the listeners reported."""
    return evaluate(context.instance)


def _judged(
    server: Server, found: tuple[float, ServerReport] | None, settled: bool, now: float
) -> Verdict:
    written_at, report = found or (None, None)
    if written_at is None or now - written_at > FRESH_SECONDS:
        if not settled:
            return Verdict(server, "too soon to say", "its group has just changed", report)
        ago = "ever" if written_at is None else f"for {duration(now - written_at)}"
        return Verdict(server, "error", f"no listener has followed it {ago}", report)
    assert report is not None
    trouble = report.trouble(now)
    if not trouble:
        return Verdict(server, "heard", report=report)
    parked = report.state in ("parked", "stopped")
    known = report.rhythm.known
    return Verdict(server, "warning" if parked or not known else "error", trouble, report)


def _named(verdicts: Sequence[Verdict]) -> str:
    named = "; ".join(f"{one.server.name}: {one.why}" for one in verdicts[:_NAMED])
    more = len(verdicts) - _NAMED
    return f"{named}; and {more} more" if more > 0 else named
