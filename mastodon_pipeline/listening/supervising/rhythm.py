"""Learn how long a server usually pauses, and tell when it is silent for longer than that.

The rule: a server is silent too long if nothing has come for more than twice its longest pause of
the past seven days, and for more than ten minutes, once 100 pauses are known. For a server whose
toots come independently of each other, the probability that a pause is longer than twice the
longest of n earlier ones is 2 / ((n + 1) (n + 2)): the pauses are exponentially distributed, and
E[exp(-2 max)] of n of them is that. So the false alarm rate is 2 in 10,000 pauses when 100 are
known, and 2 in a million when 1,000 are. Toots do depend on each other, mostly by the hour of the
day; that is why the rule compares with the longest pause of whole days, which includes every night,
and not with a mean.

Before 100 pauses are known, a server is silent too long if nothing has come for a day. After an
outage of the server the rule is more patient for seven days, because the outage was a pause too.

Only pauses during all of which we listened count: our absence is not the server's pause.
"""

from typing import Literal

import msgspec

MEMORY_DAYS = 7
MIN_PAUSES = 100
"""From this many known pauses on, the server is judged by its own rhythm."""
MIN_ALLOWED_SECONDS = 600.0
"""For a busy server, twice its longest pause would be seconds."""
ALLOWED_WHEN_NEW_SECONDS = 86_400.0
_DAY_SECONDS = 86_400.0

Silence = Literal["as usual", "too long", "too long for a new server"]


class PausesOfDay(msgspec.Struct, array_like=True):
    """The pauses that ended on one UTC day."""

    day: int
    """Days since 1970-01-01, UTC."""
    pauses: int = 0
    longest_seconds: float = 0.0


class Rhythm(msgspec.Struct):
    """A server's pauses of the past seven days: at most eight small entries, however busy it is.

    Times are seconds since 1970, UTC.
    """

    since: float
    """When the server was first listened to."""
    observed_at: float
    last_toot_at: float | None = None
    """When the last toot arrived."""
    absent_seconds: float = 0.0
    """For how much of the time since then nobody listened: no run, for whatever reason."""
    pausing: bool = False
    """Whether the present pause has been observed from its first moment on."""
    days: list[PausesOfDay] = []

    def observe(self, now: float, new_toots: bool, listening: bool) -> None:
        """Take in one observation: whether toots have come since the last one.

        `listening`: whether the server is streamed or polled and no gap is being filled, because
        the toots of a gap are late on our account.
        """
        if new_toots:
            if self.pausing and listening:
                self._add_pause(now, self.silent_seconds(now))
            self.last_toot_at = now
            self.absent_seconds = 0.0
            self.pausing = True
        self.pausing = self.pausing and listening
        self.observed_at = now

    def resume(self, now: float) -> None:
        """Go on after a time without observations, which is our absence and not its silence."""
        self.pausing = False
        self.absent_seconds += max(0.0, now - self.observed_at)
        self.observed_at = now

    @property
    def pauses(self) -> int:
        """The number of known pauses."""
        return sum(day.pauses for day in self.days)

    @property
    def longest_seconds(self) -> float:
        """The longest known pause."""
        return max((day.longest_seconds for day in self.days), default=0.0)

    @property
    def known(self) -> bool:
        """Whether enough pauses are known to judge the server by them."""
        return self.pauses >= MIN_PAUSES

    @property
    def allowed_seconds(self) -> float:
        """How long a silence is not remarkable."""
        if not self.known:
            return ALLOWED_WHEN_NEW_SECONDS
        return max(MIN_ALLOWED_SECONDS, 2 * self.longest_seconds)

    def silent_seconds(self, now: float) -> float:
        """Return for how long nothing has come while somebody listened."""
        silent_since = self.since if self.last_toot_at is None else self.last_toot_at
        return max(0.0, now - silent_since - self.absent_seconds)

    def silence(self, now: float) -> Silence:
        """Apply the rule to the present silence."""
        if self.silent_seconds(now) <= self.allowed_seconds:
            return "as usual"
        return "too long" if self.known else "too long for a new server"

    def _add_pause(self, now: float, seconds: float) -> None:
        today = int(now // _DAY_SECONDS)
        if not self.days or self.days[-1].day != today:
            # Old days are dropped when a pause is added, not by the clock alone: during a long
            # silence the pauses to compare it with must stay.
            self.days = [day for day in self.days if day.day >= today - MEMORY_DAYS]
            self.days.append(PausesOfDay(today))
        day = self.days[-1]
        day.pauses += 1
        day.longest_seconds = max(day.longest_seconds, round(seconds, 1))
