"""When a silence is longer than a server's own rhythm explains, by a simulated clock."""

import math
import random
from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.supervising.rhythm import (
    ALLOWED_WHEN_NEW_SECONDS,
    MIN_ALLOWED_SECONDS,
    MIN_PAUSES,
    Rhythm,
    Silence,
)

DAY_SECONDS = 86_400.0
START = 20_000 * DAY_SECONDS
SAMPLE_SECONDS = 60.0


class Simulation:
    """A server that is observed every minute, by a clock that the test moves."""

    def __init__(self) -> None:
        self.now = START
        self.rhythm = Rhythm(since=START, observed_at=START)

    def verdict(self) -> Silence:
        """Return what the rule says now."""
        return self.rhythm.silence(self.now)

    def toot_every(self, seconds: float, times: int) -> None:
        """Let toots come regularly while we listen."""
        for _ in range(times):
            self.pass_time(seconds)
            self.rhythm.observe(self.now, new_toots=True, listening=True)

    def pass_time(self, seconds: float, listening: bool = True) -> None:
        """Let the server be silent, while its stream is open or cannot be opened."""
        until = self.now + seconds
        while self.now + SAMPLE_SECONDS < until:
            self.now += SAMPLE_SECONDS
            self.rhythm.observe(self.now, new_toots=False, listening=listening)
        self.now = until

    def restart(self, seconds: float) -> None:
        """Let the run end, and another continue after a time with the saved rhythm."""
        saved = msgspec.json.encode(self.rhythm)
        self.now += seconds
        self.rhythm = msgspec.json.decode(saved, type=Rhythm)
        self.rhythm.resume(self.now)


def test_server_is_silent_too_long_after_twice_its_longest_pause() -> None:
    """It posted every ten minutes: after more than twenty something is wrong."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(1199)
    assert server.verdict() == "as usual"
    server.pass_time(2)
    assert server.verdict() == "too long"


def test_verdict_is_as_usual_again_with_the_next_toot() -> None:
    """And the long pause has been learnt."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.toot_every(1500, times=1)
    assert server.verdict() == "as usual"
    assert server.rhythm.longest_seconds == 1500


def test_slow_but_regular_server_is_as_usual() -> None:
    """For a server that posts every hour, an hour of silence is nothing to report."""
    server = Simulation()
    server.toot_every(3600, times=150)
    server.pass_time(3700)
    assert server.verdict() == "as usual"


def test_busy_server_may_be_silent_for_ten_minutes() -> None:
    """Twice its longest pause would be two seconds."""
    server = Simulation()
    server.toot_every(1, times=1000)
    server.pass_time(MIN_ALLOWED_SECONDS - 1)
    assert server.verdict() == "as usual"
    server.pass_time(2)
    assert server.verdict() == "too long"


def test_night_is_learnt_as_a_pause() -> None:
    """A small server sleeps eight hours, and posts every five minutes by day."""
    server = Simulation()
    for _ in range(3):
        server.toot_every(300, times=16 * 12)
        server.toot_every(8 * 3600, times=1)
    server.pass_time(9 * 3600)
    assert server.verdict() == "as usual"


def test_new_server_is_judged_by_a_day() -> None:
    """With 99 known pauses it is still new."""
    server = Simulation()
    server.toot_every(60, times=100)  # one pause fewer than toots
    assert not server.rhythm.known
    server.pass_time(ALLOWED_WHEN_NEW_SECONDS - 1)
    assert server.verdict() == "as usual"
    server.pass_time(2)
    assert server.verdict() == "too long for a new server"


def test_server_without_any_toot_is_judged_by_a_day() -> None:
    """From when it was first listened to."""
    server = Simulation()
    server.pass_time(ALLOWED_WHEN_NEW_SECONDS + 1)
    assert server.verdict() == "too long for a new server"


def test_restart_keeps_the_rhythm_and_is_no_pause_of_the_server() -> None:
    """The time without a run is neither learnt as a pause nor held against the server."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.restart(5 * 3600)
    server.pass_time(600)
    assert server.verdict() == "as usual"
    server.pass_time(700)
    assert server.verdict() == "too long"
    server.rhythm.observe(server.now, new_toots=True, listening=True)
    assert server.rhythm.longest_seconds == 600
    assert server.rhythm.pauses == 199


def test_silence_goes_on_over_a_restart() -> None:
    """Fifteen minutes before it and ten after it are together too long."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(900)
    server.rhythm.observe(server.now, new_toots=False, listening=True)
    server.restart(3600)
    assert server.verdict() == "as usual"
    server.pass_time(600)
    assert server.verdict() == "too long"


def test_absences_of_several_restarts_add_up() -> None:
    """Until the next toot, which begins a new silence."""
    server = Simulation()
    server.toot_every(600, times=200)
    for _ in range(2):
        server.restart(3600)
        server.pass_time(500)
    assert server.verdict() == "as usual"
    server.pass_time(300)
    assert server.verdict() == "too long"
    server.rhythm.observe(server.now, new_toots=True, listening=True)
    server.pass_time(1201)
    assert server.verdict() == "too long"


def test_pause_that_was_interrupted_is_not_learnt() -> None:
    """What came while the stream was down arrives later, and nobody knows when it would have."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(900, listening=False)
    server.toot_every(4100, times=1)
    assert server.rhythm.longest_seconds == 600


def test_toots_that_fill_a_gap_end_no_pause() -> None:
    """They arrive late because of us; the pause after them counts again."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(1000)
    server.rhythm.observe(server.now, new_toots=True, listening=False)
    assert server.rhythm.pauses == 199
    server.toot_every(700, times=2)
    assert (server.rhythm.pauses, server.rhythm.longest_seconds) == (200, 700)


def test_unreachable_server_is_silent() -> None:
    """Unlike our own absence: a run tries to listen, and nothing comes."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(1500, listening=False)
    assert server.verdict() == "too long"


def test_pauses_older_than_a_week_are_forgotten() -> None:
    """The rhythm of last month is no guide; the memory is eight entries at most."""
    server = Simulation()
    server.toot_every(7200, times=24)
    assert server.rhythm.longest_seconds == 7200
    for _ in range(30):
        server.toot_every(600, times=144)
        assert len(server.rhythm.days) <= 8
    assert server.rhythm.longest_seconds == 600


@pytest.mark.parametrize(("days", "longest"), [(7, 5000.0), (8, 60.0)])
def test_pause_is_remembered_for_seven_days(days: int, longest: float) -> None:
    """A day's pauses are forgotten as a whole, on the eighth day after it."""
    server = Simulation()
    server.toot_every(5000, times=2)
    server.restart(days * DAY_SECONDS - 10_000)
    server.toot_every(60, times=2)
    assert server.rhythm.longest_seconds == longest


def test_long_silence_keeps_the_pauses_to_compare_it_with() -> None:
    """Two weeks later it is still known how the server was."""
    server = Simulation()
    server.toot_every(600, times=200)
    server.pass_time(14 * DAY_SECONDS)
    assert server.verdict() == "too long"
    assert server.rhythm.known


@pytest.mark.thorough
def test_false_alarm_rate_is_as_documented() -> None:
    """For toots independent of each other: 2 / ((n + 1) (n + 2)) of the pauses after n known ones.

    Each trial learns 100 random pauses and adds up the exact probability that the next one exceeds
    what the rule allows; alarms themselves would be too rare to count.
    """
    rng, trials, mean_seconds = random.Random(7), 3000, 1800.0
    rate = 0.0
    for _ in range(trials):
        now = START
        rhythm = Rhythm(since=now, observed_at=now)
        for _ in range(MIN_PAUSES + 1):
            now += rng.expovariate(1 / mean_seconds)
            rhythm.observe(now, new_toots=True, listening=True)
        assert rhythm.pauses == MIN_PAUSES
        rate += math.exp(-rhythm.allowed_seconds / mean_seconds) / trials
    expected = 2 / ((MIN_PAUSES + 1) * (MIN_PAUSES + 2))
    assert abs(rate - expected) < 0.2 * expected


@dataclass(frozen=True)
class Step:
    """Time passes, and then the server is observed, or another run takes over."""

    seconds: float
    new_toots: bool = True
    listening: bool = True
    takeover: bool = False


steps = st.lists(
    st.builds(
        Step,
        seconds=st.floats(0.5, 2000.0) | st.floats(0.5, 3 * DAY_SECONDS),
        new_toots=st.booleans(),
        listening=st.sampled_from([True, True, True, False]),
        takeover=st.sampled_from([False, False, False, True]),
    ),
    max_size=30,
)
known_pauses = st.sampled_from([0, 90, 100, 110])
"""So that both a new and a known server are judged, and some become known."""


def take(rhythm: Rhythm, now: float, step: Step) -> Rhythm:
    if step.takeover:
        rhythm = msgspec.json.decode(msgspec.json.encode(rhythm), type=Rhythm)
        rhythm.resume(now)
    else:
        rhythm.observe(now, step.new_toots, step.listening)
    return rhythm


@given(steps)
def test_memory_of_a_rhythm_is_bounded(history: list[Step]) -> None:
    """Whatever happens: eight entries of distinct days, a few hundred bytes."""
    now = START
    rhythm = Rhythm(since=now, observed_at=now)
    for step in history:
        now += step.seconds
        rhythm = take(rhythm, now, step)
        days = [day.day for day in rhythm.days]
        assert len(days) <= 8
        assert days == sorted(set(days))
        assert len(msgspec.json.encode(rhythm)) < 500


@given(known_pauses, steps, st.floats(0.0, 3.0))
def test_verdict_is_the_documented_rule(known: int, history: list[Step], silence: float) -> None:
    """Compared with a model that keeps the whole history and applies the rule in the end.

    `silence`: how long nothing came after the history, as a multiple of what the rule allows.
    """
    now = START
    rhythm = Rhythm(since=now, observed_at=now)
    watched_since: float | None = None  # the last toot, if everything since was listened to
    silent_since, absent = START, 0.0
    pauses: list[tuple[int, float]] = []
    for step in [*[Step(500.0)] * known, *history]:
        now += step.seconds
        rhythm = take(rhythm, now, step)
        if step.takeover:
            watched_since = None
            absent += step.seconds
            continue
        if step.new_toots:
            if watched_since is not None and step.listening:
                pauses.append((int(now // DAY_SECONDS), now - watched_since))
            watched_since, silent_since, absent = now, now, 0.0
        if not step.listening:
            watched_since = None
    week = [seconds for day, seconds in pauses if day >= pauses[-1][0] - 7]
    new = len(week) < 100
    allowed = 86_400.0 if new else max(600.0, 2 * max(week))
    later = now + silence * allowed
    silent = later - silent_since - absent
    too_long = "too long for a new server" if new else "too long"
    assert rhythm.pauses == len(week)
    if abs(silent - allowed) > 1.0:  # the rhythm rounds to a tenth of a second
        assert rhythm.silence(later) == ("as usual" if silent <= allowed else too_long)
