"""How often a client may ask: Mastodon's throttles and the headers that tell of them.

See: https://docs.joinmastodon.org/api/rate-limits/ and Mastodon's `RateLimitHeaders`.
"""

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, NamedTuple

ResetForm = Literal["iso", "epoch", "retry_after", "none"]
"""How a 429 tells when to come back; Mastodon's is ISO 8601, and no Retry-After."""


class Rate(NamedTuple):
    """So many requests in every window of so many seconds; windows start on whole multiples."""

    requests: int
    seconds: int


@dataclass(slots=True)
class Throttle:
    """Counts each client's requests, in fixed windows as Mastodon does."""

    rate: Rate
    _window: int = -1
    _counts: Counter[str] = field(default_factory=Counter)

    def count(self, client: str, now: float) -> int:
        """Counts a request at `now` (epoch seconds); how many are left, negative if refused."""
        window = int(now) // self.rate.seconds
        if window != self._window:
            self._window, self._counts = window, Counter()
        self._counts[client] += 1
        return self.rate.requests - self._counts[client]

    def reset(self, now: float) -> float:
        """When the window ends, epoch seconds."""
        return now + self.rate.seconds - int(now) % self.rate.seconds


class Limits(NamedTuple):
    """A server's rates: of requests in general, and of those that page with ids."""

    anonymous: Rate = Rate(300, 300)
    authenticated: Rate = Rate(1500, 300)
    paging: Rate = Rate(300, 900)
    epoch_reset: bool = False
    """Tell the reset in epoch seconds, as servers other than Mastodon do."""


MASTODON_LIMITS = Limits()


@dataclass(slots=True)
class Throttles:
    """A server's throttles at work."""

    limits: Limits
    _throttles: dict[str, Throttle] = field(default_factory=dict)

    def admit(self, client: str, authenticated: bool, paging: bool) -> tuple[bool, dict[str, str]]:
        """Whether a request may pass, and the headers of the throttle that is closest.

        A refused one gets no Retry-After: Mastodon tells the reset alone.
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
    """The headers that tell of a budget used up until `reset` (epoch seconds), in one form.

    Whole seconds are rounded up, so that who waits for them is not too early.
    """
    if form in ("epoch", "iso"):
        used_up = {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "0"}
        return used_up | {"X-RateLimit-Reset": _reset_stamp(form, reset)}
    if form == "retry_after":
        return {"Retry-After": str(math.ceil(reset - time.time()))}
    return {}


def _reset_stamp(form: ResetForm, reset: float) -> str:
    if form == "epoch":
        return str(math.ceil(reset))
    stamp = datetime.fromtimestamp(reset, UTC).isoformat(timespec="microseconds")
    return stamp.replace("+00:00", "Z")
