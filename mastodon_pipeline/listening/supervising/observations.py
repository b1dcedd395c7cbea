"""The observations of `mastodon_topic` that a listener run makes: what they show, and how often.

Not so often that they flood the event log: 30 s after the run's start, then after 1, 2, 4, 8 and
from then on every 15 minutes; in between if a server was parked or came back, fell silent for too
long, or has a new unfilled gap, but never sooner than 2 minutes after the last one. So a group
makes 96 a day if nothing happens, and 720 at most, of about 20 KB each.
"""

from collections.abc import Sequence
from typing import Any

from mastodon_pipeline.listening.supervising.reports import ServerReport
from mastodon_pipeline.listening.supervising.server_table import gaps_table, servers_metadata

FIRST_AFTER_SECONDS = 30.0
MAX_INTERVAL_SECONDS = 900.0
MIN_INTERVAL_SECONDS = 120.0


class ObservationPace:
    """When the next observation is due; see the module's docstring."""

    def __init__(self, clock: float) -> None:
        """`clock`: seconds of a clock that only runs forward."""
        self._due_at = clock + FIRST_AFTER_SECONDS
        self._interval_seconds = FIRST_AFTER_SECONDS
        self._observed_at = clock
        self._conditions: frozenset[tuple[object, ...]] = frozenset()

    def due(self, servers: Sequence[ServerReport], now: float, clock: float) -> bool:
        """Return whether to observe now; if so, the observation counts as made.

        `now`: seconds since 1970, UTC. `clock`: as for `__init__`.
        """
        conditions = frozenset(_condition(server, now) for server in servers)
        early = conditions != self._conditions and (
            clock - self._observed_at >= MIN_INTERVAL_SECONDS
        )
        if clock < self._due_at and not early:
            return False
        self._interval_seconds = min(MAX_INTERVAL_SECONDS, 2 * self._interval_seconds)
        self._due_at = clock + self._interval_seconds
        self._observed_at = clock
        self._conditions = conditions
        return True


def observation_metadata(group: str, servers: Sequence[ServerReport], now: float) -> dict[str, Any]:
    """Return the group's figures, its servers as a table, and the gaps that were not filled.

    `now`: seconds since 1970, UTC.
    """
    metadata: dict[str, Any] = {
        "group": group,
        "toots_per_minute": round(sum(s.snapshot.toots_per_minute for s in servers), 2),
        "toots_since_start": sum(s.snapshot.toots for s in servers),
        **servers_metadata(servers, now),
    }
    if (gaps := gaps_table(servers)) is not None:
        metadata["unfilled_gaps"] = gaps
    return metadata


def _condition(server: ServerReport, now: float) -> tuple[object, ...]:
    """Return what makes an early observation worth it if it changes."""
    snapshot = server.snapshot
    return snapshot.server, server.parked, server.rhythm.silence(now), snapshot.gaps_lost
