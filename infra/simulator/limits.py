"""Mastodon's rate limits, and the headers that report them.

See: https://docs.joinmastodon.org/api/rate-limits/ and Mastodon's `RateLimitHeaders`.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

ResetForm = Literal["iso", "epoch", "retry_after", "none"]
"""The form of a 429's reset time; Mastodon sends ISO 8601, and no Retry-After."""


class Rate(NamedTuple):
    """A number of requests per window of seconds; windows start at multiples of their length."""

    requests: int
    seconds: int


@dataclass(slots=True)
class Throttle:
    """Counts each client's requests, in fixed windows as Mastodon does."""

    rate: Rate
    _window: int = -1
    _counts: Counter[str] = field(default_factory=Counter)

    def count(self, client: str, now: float) -> int:
        """Count a request at `now` (epoch seconds); return what is left, negative if refused."""
        window = int(now) // self.rate.seconds
        if window != self._window:
            self._window, self._counts = window, Counter()
        self._counts[client] += 1
        return self.rate.requests - self._counts[client]

    def reset(self, now: float) -> float:
        """Return the end of the window, epoch seconds."""
        return now + self.rate.seconds - int(now) % self.rate.seconds


class Limits(NamedTuple):
    """A server's rates: for all requests, and for those that page by ids."""

    anonymous: Rate = Rate(300, 300)
    authenticated: Rate = Rate(1500, 300)
    paging: Rate = Rate(300, 900)
    epoch_reset: bool = False
    """Send the reset in epoch seconds, as some other software does."""


MASTODON_LIMITS = Limits()


@dataclass(slots=True)
class Throttles:
    """The current counts of a server's throttles."""

    limits: Limits
    _throttles: dict[str, Throttle] = field(default_factory=dict)

    def admit(self, client: str, authenticated: bool, paging: bool) -> tuple[bool, dict[str, str]]:
        """Return whether a request is admitted, and the headers of the tightest throttle.

        A refused request gets no Retry-After: Mastodon sends the reset only.
        """
        now = time.time()
        names = ["authenticated" if authenticated else "anonymous"] + ["paging"] * paging
        left: list[tuple[int, Throttle]] = []
        for name in names:
            throttle = self._throttles.setdefault(name, Throttle(getattr(self.limits, name)))
            left.append((throttle.count(client, now), throttle))
        remaining, closest = min(left, key=lambda pair: pair[0])
        reset = closest.reset(now)
        return remaining >= 0, {
            "X-RateLimit-Limit": str(closest.rate.requests),
            "X-RateLimit-Remaining": str(max(0, remaining)),
            "X-RateLimit-Reset": _reset_stamp("epoch" if self.limits.epoch_reset else "iso", reset),
        }


def reset_headers(form: ResetForm, reset: float) -> dict[str, str]:
    """Return the headers, in the given form, of a budget exhausted until `reset` (epoch seconds).

    Whole seconds are rounded up, so that a client that waits for them is not too early.
    """
    if form in ("epoch", "iso"):
        exhausted = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0"}
        return exhausted | {"X-RateLimit-Reset": _reset_stamp(form, reset)}
    if form == "retry_after":
        return {"Retry-After": str(math.ceil(reset - time.time()))}
    return {}


def _reset_stamp(form: ResetForm, reset: float) -> str:
    if form == "epoch":
        return str(math.ceil(reset))
    stamp = datetime.fromtimestamp(reset, UTC).isoformat(timespec="microseconds")
    return stamp.replace("+00:00", "Z")
