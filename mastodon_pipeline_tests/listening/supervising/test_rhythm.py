"""When a silence is longer than a server's own rhythm explains."""

import random

from mastodon_pipeline.listening.supervising.rhythm import PAUSES_KNOWN, Rhythm

DAY = 86_400.0
START = 20_000 * DAY


def regular(pause: float, toots: int, start: float = START) -> tuple[Rhythm, float]:
    """A server that toots every `pause` seconds, and the time of its last toot."""
    rhythm, now = Rhythm(since=start, looked_at=start), start
    for _ in range(toots):
        now += pause
        rhythm.look(now, new_toots=True, listening=True)
    return rhythm, now


def test_a_silent_server_is_noticed() -> None:
    """It tooted every ten minutes; after more than twenty something is wrong."""
    rhythm, last = regular(600.0, toots=200)
    assert rhythm.silence(last + 1199) == "as usual"
    assert rhythm.silence(last + 1201) == "too long"


def test_a_slow_but_regular_server_is_left_in_peace() -> None:
    """An hour between two toots is its way, and nothing to report."""
    rhythm, last = regular(3600.0, toots=150)
    assert rhythm.silence(last + 3700) == "as usual"


def test_a_busy_server_may_be_silent_for_ten_minutes() -> None:
    """Twice its longest pause would be two seconds."""
    rhythm, last = regular(1.0, toots=1000)
    assert rhythm.silence(last + 599) == "as usual"
    assert rhythm.silence(last + 601) == "too long"


def test_a_night_is_a_pause_like_any_other() -> None:
    """A small server sleeps eight hours, and toots every five minutes by day."""
    rhythm, now = Rhythm(since=START, looked_at=START), START
    for _ in range(3):
        for _ in range(16 * 12):
            now += 300
            rhythm.look(now, new_toots=True, listening=True)
        now += 8 * 3600
        rhythm.look(now, new_toots=True, listening=True)
    assert rhythm.silence(now + 9 * 3600) == "as usual"


def test_of_a_new_server_too_little_is_known() -> None:
    """It has a day, then it is said, as what it is."""
    rhythm, last = regular(60.0, toots=PAUSES_KNOWN)  # one pause less than toots
    assert not rhythm.known
    assert rhythm.silence(last + DAY - 1) == "as usual"
    assert rhythm.silence(last + DAY + 1) == "too long for a new server"
    never = Rhythm(since=START, looked_at=START)
    assert never.silence(START + DAY + 1) == "too long for a new server"


def test_our_own_absence_is_no_pause_of_the_server() -> None:
    """Neither learnt as a pause, nor held against it when we are back."""
    rhythm, last = regular(600.0, toots=200)
    rhythm.resume(last + 5 * 3600)
    assert rhythm.silence(last + 5 * 3600 + 600) == "as usual"
    assert rhythm.silence(last + 5 * 3600 + 1300) == "too long"
    rhythm.look(last + 5 * 3600 + 1400, new_toots=True, listening=True)
    assert rhythm.longest_seconds == 600.0


def test_a_pause_with_a_cut_in_it_is_not_learnt() -> None:
    """What came meanwhile comes later, and nobody knows when it would have."""
    rhythm, last = regular(600.0, toots=200)
    rhythm.look(last + 900, new_toots=False, listening=False)
    rhythm.look(last + 5000, new_toots=True, listening=True)
    assert rhythm.longest_seconds == 600.0


def test_a_server_that_cannot_be_reached_is_silent() -> None:
    """Other than our own absence: somebody is there to listen, and nothing comes."""
    rhythm, last = regular(600.0, toots=200)
    for minute in range(25):
        rhythm.look(last + 60 * minute, new_toots=False, listening=False)
    assert rhythm.silence(last + 1500) == "too long"


def test_only_a_week_is_remembered_and_eight_entries_at_most() -> None:
    """The rhythm of last month is no guide."""
    rhythm, last = regular(7200.0, toots=24)
    assert rhythm.longest_seconds == 7200.0
    for _ in range(30 * 24 * 6):
        last += 600
        rhythm.look(last, new_toots=True, listening=True)
        assert len(rhythm.days) <= 8
    assert rhythm.longest_seconds == 600.0


def test_a_long_silence_keeps_what_it_is_compared_with() -> None:
    """Two weeks later it is still known how the server was."""
    rhythm, last = regular(600.0, toots=200)
    assert rhythm.silence(last + 14 * DAY) == "too long"


def test_the_chance_of_crying_wolf_is_as_said() -> None:
    """2 / ((n + 1) (n + 2)) of n independent pauses: simulated, for 10 of them."""
    rng, trials, known = random.Random(7), 30_000, 10
    wolves = 0
    for _ in range(trials):
        longest = max(rng.expovariate(1.0) for _ in range(known))
        wolves += rng.expovariate(1.0) > 2 * longest
    expected = 2 / ((known + 1) * (known + 2))
    assert abs(wolves / trials - expected) < 0.2 * expected
