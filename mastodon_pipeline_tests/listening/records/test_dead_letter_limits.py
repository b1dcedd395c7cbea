"""Dead letters are bounded in size and rate, and the same bad toot is one."""

import json

import pytest

from mastodon_pipeline.listening.records.dead_letter_limits import (
    BYTES_IN_ALL,
    BYTES_PER_SERVER,
    REMEMBERED,
    DeadLetterLimits,
)
from mastodon_pipeline_tests.support.recording_sink import RecordingSink, recorder_into

SERVER = "https://a.example"


class Clock:
    """Stands still until it is set."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def bad(status_id: int, favourites: int = 0) -> bytes:
    return json.dumps({"id": str(status_id), "favourites_count": favourites}).encode()


def test_same_bad_toot_is_kept_once() -> None:
    """Though its counts have changed; one without an id is known by its bytes. Shows G9."""
    limits = DeadLetterLimits()
    assert limits.admit(SERVER, "update", bad(7)) == "keep"
    assert limits.admit(SERVER, "update", bad(7, favourites=3)) == "known"
    assert limits.admit(SERVER, "status.update", bad(7)) == "keep"
    assert limits.admit("https://b.example", "update", bad(7)) == "keep"
    assert limits.admit(SERVER, "update", b"\xff no JSON") == "keep"
    assert limits.admit(SERVER, "update", b"\xff no JSON") == "known"
    assert limits.admit(SERVER, "update", b"\xff another") == "keep"


def test_what_is_remembered_is_bounded() -> None:
    limits = DeadLetterLimits()
    for number in range(REMEMBERED):
        limits.admit(f"https://{number}.example", "update", b"bad")
    assert len(limits._latest) + len(limits._earlier) <= REMEMBERED
    assert limits.admit(f"https://{REMEMBERED - 1}.example", "update", b"bad") == "known"


@pytest.mark.thorough
def test_one_noisy_server_leaves_room_for_the_others() -> None:
    """It may send some megabytes at once and again within an hour; nothing else is kept of it."""
    clock = Clock()
    limits = DeadLetterLimits(clock)
    huge = b"x" * 4 * 1024**2
    letters = [limits.admit(SERVER, "update", b"%d" % n + huge) for n in range(40)].count("keep")
    assert 0 < letters <= BYTES_PER_SERVER / 65_536
    assert limits.admit(SERVER, "update", huge) == "too many"
    assert limits.admit("https://b.example", "update", huge) == "keep"
    clock.seconds += 3600
    assert limits.admit(SERVER, "update", huge) == "keep"


def test_many_noisy_servers_stay_within_the_limit_of_all() -> None:
    limits = DeadLetterLimits(Clock())
    payload = b"x" * 65_536
    letters = [
        limits.admit(f"https://{number}.example", "update", payload) for number in range(1000)
    ].count("keep")
    assert 0 < letters * len(payload) <= BYTES_IN_ALL


def test_dropped_dead_letters_are_counted() -> None:
    """A bad toot that comes with every page is one letter, and no drop. Shows G9."""
    sink = RecordingSink()
    recorder = recorder_into(sink)
    for number in range(5000):
        recorder.take(b"[%d]" % number + b" " * 3000, "update", "stream")
        recorder.take(bad(7), "update", "poll")
    statistics = recorder.statistics
    assert statistics.dead_letters == len(sink.dead_letters)
    assert statistics.dead_letters + statistics.dead_letters_dropped == 5001
    assert statistics.dead_letters_dropped > 0
    assert f" and {statistics.dead_letters_dropped} too many" in statistics.snapshot().line()
