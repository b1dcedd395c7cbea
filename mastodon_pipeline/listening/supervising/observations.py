"""The observation that a listener run makes of `mastodon_topic`: its servers, the worst first.

How often, so that the event log is not flooded: 30 s after the run's start, then after 1, 2, 4, 8
and from then on every 15 minutes; in between where a server was parked or came back, fell silent
for too long, or has a new unfilled gap, but never sooner than 2 minutes after the last one. So a
group makes 96 a day where nothing happens, and 720 at most. An observation holds 50 servers and 20
gaps at most, whatever the group's size: about 20 KB.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.supervising.reports import LISTENING_STATES, ServerReport

FIRST_SECONDS = 30.0
LONGEST_SECONDS = 900.0
SOONEST_SECONDS = 120.0
SERVERS_SHOWN = 50
GAPS_SHOWN = 20


class ObservationPace:
    """When the next observation is due; see the module's docstring. Times in seconds."""

    def __init__(self, now: float) -> None:
        self._due = now + FIRST_SECONDS
        self._pause = FIRST_SECONDS
        self._observed_at = now
        self._noted: frozenset[tuple[str, ...]] = frozenset()

    def due(self, servers: Sequence[ServerReport], now: float, clock: float) -> bool:
        """Whether to observe now; it then counts as done.

        `now`: since 1970, UTC. `clock`: of a clock that only runs forward, as for `__init__`.
        """
        noteworthy = frozenset(_noteworthy(server, now) for server in servers)
        changed = noteworthy != self._noted
        since = clock - self._observed_at
        if clock < self._due and not (changed and since >= SOONEST_SECONDS):
            return False
        self._pause = min(LONGEST_SECONDS, 2 * self._pause)
        self._due = clock + self._pause
        self._observed_at = clock
        self._noted = noteworthy
        return True


def observation_metadata(
    group: str, servers: Sequence[ServerReport], now: float
) -> Mapping[str, Any]:
    """The group in figures, its servers as a table, and what could not be filled. `now`: UTC."""
    metadata: dict[str, Any] = {
        "group": group,
        "toots_per_minute": round(sum(server.toots_per_minute for server in servers), 2),
        "toots_since_start": sum(server.toots for server in servers),
        "states": in_figures(servers),
        "servers": servers_table(servers, now),
    }
    if left_out := len(servers) - SERVERS_SHOWN:
        metadata |= {"servers_left_out": left_out} if left_out > 0 else {}
    gaps = [(server.server, gap) for server in servers for gap in server.unfilled_gaps]
    if gaps:
        metadata["unfilled_gaps"] = _gaps_table(gaps)
    return metadata


def in_figures(servers: Sequence[ServerReport]) -> str:
    """How many servers are in which state."""
    states = Counter(server.state for server in servers)
    return ", ".join(f"{count} {state}" for state, count in states.most_common()) or "no servers"


def worst_first(servers: Sequence[ServerReport], now: float) -> list[ServerReport]:
    """In trouble, not listened to, with gaps, the rest; each by how long it has been silent."""

    def badness(server: ServerReport) -> tuple[bool, bool, int, float]:
        listening = server.state in LISTENING_STATES
        gaps = server.open_gaps + len(server.unfilled_gaps)
        silent = server.rhythm.silent_seconds(now)
        return bool(server.trouble(now)), not listening, gaps, silent

    return sorted(servers, key=badness, reverse=True)


def servers_table(servers: Sequence[ServerReport], now: float) -> dg.TableMetadataValue:
    """The worst 50 servers as a table for the UI."""
    rows = [_row(server, now) for server in worst_first(servers, now)[:SERVERS_SHOWN]]
    return dg.MetadataValue.table([dg.TableRecord(row) for row in rows], schema=_SERVERS)


def servers_markdown(servers: Sequence[ServerReport], now: float) -> str:
    """The same as Markdown, which the UI shows as a page."""
    names = [column.name for column in _SERVERS.columns]
    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    for server in worst_first(servers, now)[:SERVERS_SHOWN]:
        cells = [str(value).replace("|", "\\|") for value in _row(server, now).values()]
        lines.append(f"| {' | '.join(cells)} |")
    if (left_out := len(servers) - SERVERS_SHOWN) > 0:
        lines += ["", f"and {left_out} more that are better off than these"]
    return "\n".join(lines)


def _noteworthy(server: ServerReport, now: float) -> tuple[str, ...]:
    silence = server.rhythm.silence(now)
    parked = str(server.state in ("parked", "stopped"))
    return server.server, server.feed, parked, silence, str(server.gaps_lost)


_SERVERS = dg.TableSchema(
    columns=[
        dg.TableColumn("server", "string"),
        dg.TableColumn("state", "string"),
        dg.TableColumn("why", "string"),
        dg.TableColumn("toots_per_minute", "float"),
        dg.TableColumn("lag_seconds", "float", description="From post time to taken"),
        dg.TableColumn("last_toot", "string", description="UTC"),
        dg.TableColumn("toots", "int", description="Since the run began"),
        dg.TableColumn("reconnects", "int"),
        dg.TableColumn("open_gaps", "int", description="Being filled"),
        dg.TableColumn("gaps_filled", "int"),
        dg.TableColumn("unfilled_gaps", "int"),
        dg.TableColumn("last_unfilled_gap", "string", description="From, to (UTC), and why"),
        dg.TableColumn("dead_letters", "int"),
    ]
)
_GAPS = dg.TableSchema(
    columns=[dg.TableColumn(name, "string") for name in ("server", "from", "to", "why", "found")]
)


def _row(server: ServerReport, now: float) -> dict[str, str | int | float | bool | None]:
    last = server.rhythm.last_toot_at
    gap = server.unfilled_gaps[-1] if server.unfilled_gaps else None
    return {
        "server": f"{server.server} {server.feed}",
        "state": server.state,
        "why": server.trouble(now) or server.reason,
        "toots_per_minute": server.toots_per_minute,
        "lag_seconds": "" if server.lag_seconds is None else server.lag_seconds,
        "last_toot": _utc(None if last is None else int(last * 1000), "none yet"),
        "toots": server.toots,
        "reconnects": server.reconnects,
        "open_gaps": server.open_gaps,
        "gaps_filled": server.gaps_filled,
        "unfilled_gaps": server.gaps_lost,
        "last_unfilled_gap": ""
        if gap is None
        else f"{_utc(gap.from_ms)} to {_utc(gap.to_ms)}: {gap.reason}",
        "dead_letters": server.dead_letters,
    }


def _gaps_table(gaps: Sequence[tuple[str, UnfilledGap]]) -> dg.TableMetadataValue:
    newest = sorted(gaps, key=lambda gap: gap[1].found_at_ms, reverse=True)[:GAPS_SHOWN]
    rows = [
        dg.TableRecord(
            {
                "server": server,
                "from": _utc(gap.from_ms),
                "to": _utc(gap.to_ms),
                "why": gap.reason,
                "found": _utc(gap.found_at_ms),
            }
        )
        for server, gap in newest
    ]
    return dg.MetadataValue.table(rows, schema=_GAPS)


def _utc(milliseconds: int | None, unknown: str = "unknown") -> str:
    if milliseconds is None:
        return unknown
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%F %T}"
