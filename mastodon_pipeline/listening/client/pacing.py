"""When to try, to wait and to give up: timings, backoff, and the rate of new connections."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CONNECTS_PER_SECOND = 300.0
"""A thousand streams are connected, or back after an outage, in a little over three seconds."""
_CONCURRENT_CONNECTS = 100
"""Each connect may cost a DNS lookup and a TLS handshake."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How long a listener waits for servers; tests shorten it."""

    request_seconds: float = 20.0
    """Timeout to connect, and to the head of a response."""
    silence_seconds: float = 60.0
    """A stream without a byte for this long is dead: four of Mastodon's heartbeats."""
    parked_seconds: float = 3600.0
    """Until a server that refused us is asked again."""
    fresh_seconds: float = 60.0
    """A refusal this soon after instance info was fetched does not mean that it is outdated."""
    info_max_age_seconds: float = 3600.0
    """How long instance info is trusted, at most."""
    compare_seconds: float = 600.0
    """Between two comparisons of a stream with its timeline: one to five requests each."""
    silence_check_seconds: float = 120.0
    """A stream without a toot for this long is compared; then after twice as long, and so on."""
    late_event_seconds: float = 30.0
    """How long after a toot is listed its event may still come by the stream."""
    gap_refusal_seconds: float = 3600.0
    """How long a refusal that is not the application's own, such as a bot wall's page, is retried
    before a gap is given up."""
    overlap_reread_seconds: float = 300.0
    """Between two reads of the overlap on a polled feed, at most: half of it where there are
    remote toots, so that one fetched late, listed below what was read, is read at least once."""


DEFAULT_TIMINGS = Timings()


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter, so that a server that is down is not hammered.

    See: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    first_seconds: float = 1.0
    """The upper bound of the first wait."""
    longest_seconds: float = 300.0
    """The upper bound of any wait."""
    healthy_after_seconds: float = 60.0
    """How long a connection must have lasted to reset the number of failures."""
    _failures: int = field(default=0, init=False)
    _connected_at: float | None = field(default=None, init=False)

    def note_connected(self) -> None:
        """Note that a connection is open; repeated calls mean the same connection."""
        if self._connected_at is None:
            self._connected_at = time.monotonic()

    def next_wait(self) -> float:
        """Return the seconds to wait before the next attempt; call it once per failure."""
        connected_at, self._connected_at = self._connected_at, None
        now = time.monotonic()
        if connected_at is not None and now - connected_at >= self.healthy_after_seconds:
            self._failures = 0
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** min(self._failures, 30))
        self._failures += 1
        # Full jitter can be close to zero; a tenth of the bound spares a port that refuses.
        return max(random.uniform(0.0, bound), bound / 10)


class ConnectPace:
    """Spaces out new connections, so that a thousand streams cut at once do not return at once.

    For one event loop.
    """

    def __init__(self, per_second: float = CONNECTS_PER_SECOND) -> None:
        self._interval_seconds = 1.0 / per_second
        self._next_at = 0.0
        self._concurrent = asyncio.Semaphore(_CONCURRENT_CONNECTS)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn; open the connection in the body."""
        now = asyncio.get_running_loop().time()
        turn_at = max(self._next_at, now)
        self._next_at = turn_at + self._interval_seconds
        await asyncio.sleep(turn_at - now)
        async with self._concurrent:
            yield
