"""How often a server lets us ask, as its own answers say.

Mastodon's 429 has no Retry-After but X-RateLimit-Reset, ISO 8601; other software sends epoch
seconds there, or Retry-After. See: https://docs.joinmastodon.org/api/rate-limits/
"""

import asyncio
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

_UNSAID_WAIT = 60.0
"""Seconds to wait after a 429 that does not say how long."""
_UNSAID_SPACING = 3.0
"""Seconds between pages where the server names no limit: Mastodon's 300 requests in 15 min."""


class RateBudget:
    """One host's budget; every request to it asks first and tells it the answer.

    Whoever reads timelines holds `turn` meanwhile, so that requests to a host follow one another.
    """

    __slots__ = ("_not_before", "_refused_until", "turn")

    def __init__(self) -> None:
        self.turn = asyncio.Lock()
        self._not_before = 0.0
        self._refused_until = 0.0

    def delay(self) -> float:
        """Seconds until the next timeline request is welcome; 0 for now."""
        return max(0.0, self._not_before - time.monotonic())

    def refused_for(self) -> float:
        """Seconds until anything at all is welcome, after a 429; 0 for now."""
        return max(0.0, self._refused_until - time.monotonic())

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Learns from an answer: its HTTP status and its headers (any case-insensitive mapping)."""
        reset = _seconds_until_reset(headers)
        if status == 429:
            said = [s for s in (reset, _retry_after(headers)) if s is not None]
            # Jitter, so that a thousand listeners do not come back in the same instant.
            # A reset that has just passed is no invitation to ask without a pause.
            wait = max(1.0, max(said) if said else _UNSAID_WAIT) * random.uniform(1.0, 1.1)
            self._refused_until = time.monotonic() + wait
        else:
            wait = _spacing(headers, reset)
        self._not_before = time.monotonic() + wait


class RateBudgets:
    """The budgets of all hosts, one each, whatever feeds of it are followed."""

    def __init__(self) -> None:
        self._budgets: dict[str, RateBudget] = {}

    def of(self, base_url: str) -> RateBudget:
        """The budget of the server at `base_url`."""
        return self._budgets.setdefault(urlsplit(base_url).netloc, RateBudget())


def _spacing(headers: Mapping[str, str], reset: float | None) -> float:
    remaining = _number(headers.get("X-RateLimit-Remaining"))
    limit = _number(headers.get("X-RateLimit-Limit"))
    if remaining is None or reset is None:
        return _UNSAID_SPACING
    if remaining < 1:
        return reset
    # The last quarter is spread over what is left of the window; before that, as fast as it goes.
    return reset / remaining if limit and remaining < limit / 4 else 0.0


def _seconds_until_reset(headers: Mapping[str, str]) -> float | None:
    text = headers.get("X-RateLimit-Reset")
    if not text:
        return None
    epoch = _number(text)
    try:
        if epoch is None:
            moment = datetime.fromisoformat(text)
            epoch = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        # Measured on the server's own clock where it shows it, for ours may differ.
        shown = headers.get("Date")
        now = parsedate_to_datetime(shown).timestamp() if shown else time.time()
    except (ValueError, OverflowError):
        return None
    return min(max(epoch - now, 0.0), 3600.0)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After")
    if not text:
        return None
    seconds = _number(text)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), 3600.0)


def _number(text: str | None) -> float | None:
    try:
        found = float(text) if text else None
    except ValueError:
        return None
    return found if found is not None and found == found and abs(found) != float("inf") else None
