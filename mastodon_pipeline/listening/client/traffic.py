"""How much we ask of a host: requests, and bytes of its answers, by the hour."""

import time
from collections import deque
from collections.abc import Callable, Mapping

_WINDOW_SECONDS = 3600.0
_SAMPLE_SECONDS = 15.0
"""Between two samples, at least: those of an hour are kept."""


class Traffic:
    """One host's counters since the listener began.

    Plain ints, because a stream adds to them with each block; threads that add at the very same
    moment may lose one.
    """

    __slots__ = ("_clock", "_samples", "received_bytes", "requests")

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.requests = 0
        self.received_bytes = 0
        """Of answers' bodies, as they were sent where that is known."""
        self._clock = clock
        self._samples: deque[tuple[float, int, int]] = deque([(clock(), 0, 0)])

    def add_response(self, body_bytes: int, headers: Mapping[str, str]) -> None:
        """Count a request and its answer; the length that the headers state comes first."""
        stated = headers.get("Content-Length", "")
        is_length = stated.isascii() and stated.isdigit() and len(stated) < 12
        self.requests += 1
        self.received_bytes += int(stated) if is_length else body_bytes

    def per_hour(self) -> tuple[float, float]:
        """Return requests and bytes an hour, over the last hour, or since the first sample.

        In the first minute they are taken to be all of that minute, so that a start is no rush.
        """
        now = self._clock()
        samples = self._samples
        while len(samples) > 1 and now - samples[1][0] >= _WINDOW_SECONDS:
            samples.popleft()
        began, requests, received = samples[0]
        hours = max(now - began, 60.0) / 3600
        rates = (self.requests - requests) / hours, (self.received_bytes - received) / hours
        if now - samples[-1][0] >= _SAMPLE_SECONDS:
            samples.append((now, self.requests, self.received_bytes))
        return rates
