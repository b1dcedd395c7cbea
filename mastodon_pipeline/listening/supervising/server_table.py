"""The servers' reports as tables for Dagster's UI, the worst first.

Tables and not Markdown: state reasons may contain words of a server's, and the UI shows the cells
of a table as plain text. A table holds 50 servers at most, whatever the group's size: about 20 KB,
which Dagster's event log keeps for each observation.
"""

from collections import Counter
from collections.abc import Sequence

import dagster as dg

from mastodon_pipeline.listening.following.statistics import UnfilledGap, format_utc
from mastodon_pipeline.listening.supervising.reports import ServerReport

MAX_SERVERS = 50
MAX_GAPS = 20
MAX_REASON_CHARACTERS = 200

_SERVERS = dg.TableSchema(
    columns=[
        dg.TableColumn("server", "string"),
        dg.TableColumn("state", "string"),
        dg.TableColumn("problem", "string", description="What the check complains about"),
        dg.TableColumn("reason", "string", description="Why it is parked, waiting or polled"),
        dg.TableColumn("toots_per_minute", "float", description="Mean of the last five minutes"),
        dg.TableColumn("lag_seconds", "float", description="From post time to arrival"),
        dg.TableColumn("clock_seconds", "float", "How far our clock is ahead of its clock"),
        dg.TableColumn("last_toot", "string", description="When it arrived (UTC)"),
        dg.TableColumn("toots", "int", description="Since the run began"),
        dg.TableColumn("reconnects", "int"),
        dg.TableColumn("lost_by_streams", "int", "Read from the timeline instead"),
        dg.TableColumn("open_gaps", "int", description="Being filled"),
        dg.TableColumn("gaps_filled", "int"),
        dg.TableColumn("unfilled_gaps", "int"),
        dg.TableColumn("last_unfilled_gap", "string", description="From, to (UTC), and reason"),
        dg.TableColumn("dead_letters", "int", description="Also those too many to keep"),
        dg.TableColumn("not_public", "int", description="Listed, but private: not recorded"),
        dg.TableColumn("requests_per_hour", "float", "Of its host, over the last hour"),
        dg.TableColumn("kb_per_hour", "float", "Answers and streams of its host, kB"),
        dg.TableColumn("rate_budget_used", "float", "Share of its rate limit, when last stated"),
        dg.TableColumn("excluded", "int", "Of blocked or opted-out authors: not recorded"),
    ]
)
_GAPS = dg.TableSchema(
    columns=[dg.TableColumn(name, "string") for name in ("server", "from", "to", "reason", "found")]
)


def servers_metadata(
    servers: Sequence[ServerReport], now: float, limit: int = MAX_SERVERS
) -> dict[str, dg.TableMetadataValue | str | int]:
    """Return the metadata of an observation or a check: states, and the worst servers as a table.

    `now`: seconds since 1970, UTC. `limit`: of servers in the table.
    """
    shown = worst_first(servers, now)[:limit]
    metadata: dict[str, dg.TableMetadataValue | str | int] = {
        "states": state_counts(servers),
        "servers": dg.MetadataValue.table([_server_row(s, now) for s in shown], schema=_SERVERS),
    }
    if len(servers) > len(shown):
        metadata["servers_left_out"] = len(servers) - len(shown)
    return metadata


def gaps_table(servers: Sequence[ServerReport]) -> dg.TableMetadataValue | None:
    """Return the latest gaps that could not be filled as a table, or None if there are none."""
    gaps = [(s.snapshot.server.name, gap) for s in servers for gap in s.snapshot.unfilled_gaps]
    latest = sorted(gaps, key=lambda gap: gap[1].found_at_ms, reverse=True)[:MAX_GAPS]
    rows = [
        dg.TableRecord(
            {
                "server": server,
                "from": format_utc(gap.from_ms),
                "to": format_utc(gap.to_ms),
                "reason": _shortened(gap.reason),
                "found": format_utc(gap.found_at_ms),
            }
        )
        for server, gap in latest
    ]
    return dg.MetadataValue.table(rows, schema=_GAPS) if rows else None


def state_counts(servers: Sequence[ServerReport]) -> str:
    """Return how many servers are in which state, the most frequent first."""
    states = Counter(server.snapshot.state for server in servers)
    return ", ".join(f"{count} {state}" for state, count in states.most_common()) or "no servers"


def worst_first(servers: Sequence[ServerReport], now: float) -> list[ServerReport]:
    """Sort by: with a problem, not listened to, number of gaps, time since the last toot."""

    def badness(server: ServerReport) -> tuple[bool, bool, int, float]:
        gaps = server.snapshot.open_gaps + len(server.snapshot.unfilled_gaps)
        silent_seconds = server.rhythm.silent_seconds(now)
        return bool(server.problem(now)), not server.snapshot.listening, gaps, silent_seconds

    return sorted(servers, key=badness, reverse=True)


def _server_row(server: ServerReport, now: float) -> dg.TableRecord:
    snapshot, last_toot_at = server.snapshot, server.rhythm.last_toot_at
    arrived_ms = None if last_toot_at is None else int(last_toot_at * 1000)
    return dg.TableRecord(
        {
            "server": f"{snapshot.server.name} {snapshot.server.feed}",
            "state": snapshot.state,
            "problem": server.problem(now),
            "reason": _shortened(snapshot.reason),
            "toots_per_minute": snapshot.toots_per_minute,
            "lag_seconds": _or_empty(snapshot.lag_seconds),
            "clock_seconds": _or_empty(snapshot.clock_difference_seconds),
            "last_toot": format_utc(arrived_ms, "none yet"),
            "toots": snapshot.toots,
            "reconnects": snapshot.reconnects,
            "lost_by_streams": snapshot.lost_by_streams,
            "open_gaps": snapshot.open_gaps,
            "gaps_filled": snapshot.gaps_filled,
            "unfilled_gaps": snapshot.gaps_lost,
            "last_unfilled_gap": _described(snapshot.unfilled_gaps),
            "dead_letters": snapshot.dead_letters + snapshot.dead_letters_dropped,
            "not_public": snapshot.not_public,
            "excluded": snapshot.excluded,
            "requests_per_hour": snapshot.requests_per_hour,
            "kb_per_hour": round(snapshot.bytes_per_hour / 1000, 1),
            "rate_budget_used": _or_empty(snapshot.rate_budget_used),
        }
    )


def _described(gaps: Sequence[UnfilledGap]) -> str:
    if not gaps:
        return ""
    gap = gaps[-1]
    return f"{format_utc(gap.from_ms)} to {format_utc(gap.to_ms)}: {_shortened(gap.reason)}"


def _or_empty(number: float | None) -> float | str:
    return "" if number is None else number


def _shortened(reason: str) -> str:
    if len(reason) <= MAX_REASON_CHARACTERS:
        return reason
    return f"{reason[:MAX_REASON_CHARACTERS]}…"
