"""A server's figures tell the last minutes, and stay small."""

import time

import pytest

from mastodon_pipeline.listening.following.statistics import (
    UNFILLED_GAPS_KEPT,
    ServerStatistics,
    UnfilledGap,
)


def test_the_rate_is_of_the_last_minutes() -> None:
    """What came before them counts no more; a listener that has just begun is not flattered."""
    statistics = ServerStatistics("a.example", "local")
    for _ in range(30):
        statistics.count_toot(1)
    assert statistics.toots_per_minute == pytest.approx(60 * 30, rel=0.05), "30 in a first second"
    statistics._began -= 600
    assert statistics.toots_per_minute == pytest.approx(60 * 30 / 300)
    statistics._bucket -= 40  # ten seconds each: they came more than five minutes ago
    assert statistics.toots_per_minute == 0
    statistics.count_toot(1)
    assert statistics.toots_per_minute == pytest.approx(60 / 300)
    assert statistics.toots == 31


def test_the_lag_is_of_the_last_toot_that_came_by_itself() -> None:
    """Filling a gap says nothing of how fresh the stream is; a clock ahead of ours is no lag."""
    statistics = ServerStatistics("a.example", "local")
    assert statistics.lag_seconds is None
    statistics.count_toot(1, lag_ms=1500)
    statistics.count_toot(1)
    assert statistics.lag_seconds == 1.5
    statistics.count_toot(1, lag_ms=-20)
    assert statistics.lag_seconds == 0


def test_the_latest_unfilled_gaps_are_kept() -> None:
    """Bounded, and all of them counted."""
    statistics = ServerStatistics("a.example", "local")
    now = int(time.time() * 1000)
    for number in range(UNFILLED_GAPS_KEPT + 5):
        statistics.add_unfilled_gap(UnfilledGap("1", "2", None, None, f"reason {number}", now))
    assert statistics.gaps_lost == UNFILLED_GAPS_KEPT + 5
    assert len(statistics.unfilled_gaps) == UNFILLED_GAPS_KEPT
    assert statistics.gap_reason == f"reason {UNFILLED_GAPS_KEPT + 4}"
