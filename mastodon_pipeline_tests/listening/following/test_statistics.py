"""A server's counters describe the last minutes, and stay small."""

import time

import pytest

from mastodon_pipeline.listening.following.statistics import (
    MAX_UNFILLED_GAPS,
    SNAPSHOT_GAPS,
    ServerStatistics,
    UnfilledGap,
)
from mastodon_pipeline.servers import parse_server

SERVER = parse_server("a.example")


def test_rate_is_of_the_last_five_minutes() -> None:
    """Earlier toots do not count; nor is a listener that has just begun given a huge rate."""
    statistics = ServerStatistics(SERVER)
    for _ in range(30):
        statistics.count_toot(1)
    assert statistics.toots_per_minute == pytest.approx(60 * 30, rel=0.05), "30 in a first second"
    statistics._began_at -= 600
    assert statistics.toots_per_minute == pytest.approx(60 * 30 / 300)
    statistics._bucket -= 40  # ten seconds each: they came more than five minutes ago
    assert statistics.toots_per_minute == 0
    statistics.count_toot(1)
    assert statistics.toots_per_minute == pytest.approx(60 / 300)
    assert statistics.toots == 31


def test_lag_is_of_the_last_toot_that_fills_no_gap() -> None:
    """A filled gap says nothing about the stream; a server's clock ahead of ours is no lag."""
    statistics = ServerStatistics(SERVER)
    assert statistics.lag_seconds is None
    statistics.count_toot(1, lag_ms=1500)
    statistics.count_toot(1)
    assert statistics.lag_seconds == 1.5
    statistics.count_toot(1, lag_ms=-20)
    assert statistics.lag_seconds == 0


def test_only_the_latest_unfilled_gaps_are_remembered() -> None:
    """Bounded, while all of them are counted. Shows G3."""
    statistics = ServerStatistics(SERVER)
    now = int(time.time() * 1000)
    for number in range(MAX_UNFILLED_GAPS + 5):
        statistics.add_unfilled_gap(UnfilledGap("1", "2", None, None, f"reason {number}", now))
    assert statistics.gaps_lost == MAX_UNFILLED_GAPS + 5
    assert len(statistics.unfilled_gaps) == MAX_UNFILLED_GAPS
    assert statistics.unfilled_gaps[-1].reason == f"reason {MAX_UNFILLED_GAPS + 4}"
    assert statistics.snapshot().unfilled_gaps == statistics.unfilled_gaps[-SNAPSHOT_GAPS:]


def test_snapshot_has_the_figures_and_does_not_change() -> None:
    """What is counted later is in the next snapshot."""
    statistics = ServerStatistics(SERVER, connects=3, deletes=2, dead_letters=1)
    statistics.set_state("polling", "no token")
    statistics.count_toot(1_780_000_000_000, lag_ms=1234)
    snapshot = statistics.snapshot()
    statistics.count_toot(1_790_000_000_000)
    assert (snapshot.toots, statistics.snapshot().toots) == (1, 2)
    assert (snapshot.state, snapshot.reason, snapshot.lag_seconds) == ("polling", "no token", 1.2)
    assert snapshot.listening
    assert snapshot.line() == (
        f"a.example local: polling (no token); 1 toots ({snapshot.toots_per_minute:.1f}/min), "
        "newest post (UTC) 2026-05-28 20:26:40; "
        "2 deletes, 1 dead letters, 2 reconnects, 0 gaps filled, 0 lost"
    )


def test_log_line_before_the_first_toot() -> None:
    """No figure is made up for what is not known yet."""
    line = ServerStatistics(SERVER).snapshot().line()
    assert line.startswith("a.example local: connecting; 0 toots (0.0/min)")
    assert "none yet" in line
