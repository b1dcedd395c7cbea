"""Waiting before the next attempt, so that a server that is down is not hammered."""

import random
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Exponential backoff with full jitter.

    See: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """

    first: float = 1.0
    """The upper bound of the first wait, seconds."""
    longest: float = 300.0
    """The upper bound of any wait, seconds."""
    healthy_after: float = 60.0
    """How long, seconds, a connection must have held for the count to start anew."""
    _failures: int = field(default=0, init=False)
    _connected_at: float | None = field(default=None, init=False)

    def connected(self) -> None:
        """A connection has been made; said again, it is still the same one."""
        if self._connected_at is None:
            self._connected_at = time.monotonic()

    def next_wait(self) -> float:
        """Seconds to wait before the next attempt, after one has ended."""
        began, self._connected_at = self._connected_at, None
        if began is not None and time.monotonic() - began >= self.healthy_after:
            self._failures = 0
        bound = min(self.longest, self.first * 2.0 ** min(self._failures, 30))
        self._failures += 1
        # Full jitter may come out near zero; a tenth of the bound keeps a refusing port cool.
        return max(random.uniform(0.0, bound), bound / 10)
