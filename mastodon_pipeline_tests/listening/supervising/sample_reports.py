"""Reports of servers as a listener run would write them."""

from mastodon_pipeline.listening.following.statistics import ServerSnapshot, State, UnfilledGap
from mastodon_pipeline.listening.supervising.reports import ServerReport
from mastodon_pipeline.listening.supervising.rhythm import PausesOfDay, Rhythm
from mastodon_pipeline.servers import parse_server

NOW = 1_800_000_000.0
GAP = UnfilledGap("1", "9", 1_799_990_000_000, 1_799_993_600_000, "410 Gone", 1_799_999_000_000)


def sample_rhythm(
    *,
    silent_seconds: float = 5.0,
    longest_seconds: float = 300.0,
    pauses: int = 500,
    now: float = NOW,
) -> Rhythm:
    """A rhythm of `pauses` pauses, all of today."""
    return Rhythm(
        since=now - 1_000_000,
        observed_at=now,
        last_toot_at=now - silent_seconds,
        days=[PausesOfDay(int(now // 86_400), pauses, longest_seconds)],
    )


def sample_report(
    server: str = "a.example",
    *,
    feed: str = "local",
    state: State = "streaming",
    reason: str = "",
    gaps_lost: int = 0,
    unfilled_gaps: tuple[UnfilledGap, ...] = (),
    rhythm: Rhythm | None = None,
    clock_difference_seconds: float | None = None,
    not_public: int = 0,
) -> ServerReport:
    """A report of a server that posts as usual, unless the arguments say otherwise."""
    snapshot = ServerSnapshot(
        server=parse_server(server, feed),
        state=state,
        reason=reason,
        toots=10,
        deletes=0,
        toots_per_minute=1.0,
        lag_seconds=0.4,
        newest_post_at_ms=None,
        dead_letters=0,
        lost_by_streams=0,
        reconnects=0,
        open_gaps=0,
        gaps_filled=0,
        gaps_lost=gaps_lost,
        unfilled_gaps=unfilled_gaps,
        clock_difference_seconds=clock_difference_seconds,
        not_public=not_public,
    )
    return ServerReport(snapshot, rhythm or sample_rhythm())
