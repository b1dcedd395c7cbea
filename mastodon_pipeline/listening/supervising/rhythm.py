"""How long a server usually is silent, and when it is silent for longer than that explains.

The rule. A server is silent too long when nothing has come for more than twice its longest pause
of the past seven days, and for more than ten minutes in any case; once 100 pauses are known. For a
server whose toots come independently of each other the chance that a pause is longer than twice
the longest of n former ones is 2 / ((n + 1) (n + 2)): the pauses are exponentially distributed, and
E[exp(-2 max)] of n of them is that. So of 100 pauses 2 in 10,000, of 1,000 pauses 2 in a million,
cry wolf. Toots do depend on each other, mostly by the hour of the day; hence the longest pause of
whole days, which holds every night, and not a mean.

Before 100 pauses are known, a server is silent too long when nothing has come for a day. After an
outage at the server the rule is more patient for seven days, since the outage was a pause too.

Only pauses during all of which we listened count: ours are no pauses of the server.
"""

from typing import Literal

import msgspec

DAYS_KEPT = 7
PAUSES_KNOWN = 100
LEAST_ALLOWED_SECONDS = 600.0
UNKNOWN_ALLOWED_SECONDS = 86_400.0
_DAY_SECONDS = 86_400

Silence = Literal["as usual", "too long", "too long for a new server"]


class Day(msgspec.Struct, array_like=True):
    """The pauses that ended on one UTC day."""

    day: int
    """Days since 1970-01-01, UTC."""
    pauses: int = 0
    longest_seconds: float = 0.0


class Rhythm(msgspec.Struct):
    """A server's pauses of the past seven days; at most eight small entries, however busy it is.

    Times are seconds since 1970, UTC.
    """

    since: float
    """When the server was first listened to."""
    looked_at: float
    last_toot_at: float | None = None
    """When the last toot came."""
    away_seconds: float = 0.0
    """For how much of the time since then nobody listened: no run, for whatever reason."""
    pausing: bool = False
    """Whether the present pause has been watched from its first moment on."""
    days: list[Day] = []

    def look(self, now: float, new_toots: bool, listening: bool) -> None:
        """Takes in a look at the server: whether toots came since the last one.

        `listening`: whether it is streamed or polled and no gap is being filled, whose toots are
        late because of us.
        """
        if new_toots:
            if self.pausing and listening:
                self._add(now, self.silent_seconds(now))
            self.last_toot_at = now
            self.away_seconds = 0.0
            self.pausing = True
        self.pausing = self.pausing and listening
        self.looked_at = now

    def resume(self, now: float) -> None:
        """Goes on after a time in which nobody looked: that was no silence of the server."""
        self.pausing = False
        self.away_seconds += max(0.0, now - self.looked_at)
        self.looked_at = now

    @property
    def pauses(self) -> int:
        """How many pauses are known."""
        return sum(day.pauses for day in self.days)

    @property
    def longest_seconds(self) -> float:
        """The longest of them."""
        return max((day.longest_seconds for day in self.days), default=0.0)

    @property
    def known(self) -> bool:
        """Whether there are enough of them to judge by."""
        return self.pauses >= PAUSES_KNOWN

    @property
    def allowed_seconds(self) -> float:
        """How long a silence its rhythm explains."""
        if not self.known:
            return UNKNOWN_ALLOWED_SECONDS
        return max(LEAST_ALLOWED_SECONDS, 2 * self.longest_seconds)

    def silent_seconds(self, now: float) -> float:
        """How long nothing has come while somebody listened."""
        began = self.since if self.last_toot_at is None else self.last_toot_at
        return max(0.0, now - began - self.away_seconds)

    def silence(self, now: float) -> Silence:
        """The rule's verdict."""
        if self.silent_seconds(now) <= self.allowed_seconds:
            return "as usual"
        return "too long" if self.known else "too long for a new server"

    def _add(self, now: float, seconds: float) -> None:
        today = int(now // _DAY_SECONDS)
        if not self.days or self.days[-1].day != today:
            # Here and not by the clock alone: a long silence keeps what it is compared with.
            self.days = [day for day in self.days if day.day >= today - DAYS_KEPT]
            self.days.append(Day(today))
        day = self.days[-1]
        day.pauses += 1
        day.longest_seconds = max(day.longest_seconds, round(seconds, 1))
