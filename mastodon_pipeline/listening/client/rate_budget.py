"""How often we may ask a server, learned from the headers of its responses.

Mastodon's 429 has no Retry-After but an X-RateLimit-Reset in ISO 8601; other software sends epoch
seconds there, or Retry-After. See: https://docs.joinmastodon.org/api/rate-limits/
"""

import asyncio
import math
import random
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from mastodon_pipeline.listening.client.traffic import Traffic

_DEFAULT_WAIT_SECONDS = 60.0
"""After a 429 that does not say how long."""
_DEFAULT_SPACING_SECONDS = 3.0
"""Between pages of a server that states no limit: Mastodon's 300 requests in 15 min."""
_LONGEST_WAIT_SECONDS = 3600.0
_NO_TIME = (ValueError, OverflowError, TypeError, IndexError, OSError)
"""What the standard library raises for a header that is no time, or one of no calendar."""


class RateBudget:
    """One host's budget: ask it before each request, and pass it each response.

    Timeline reads hold `turn`, so that requests to a host follow one another.
    """

    __slots__ = (
        "_not_before",
        "_refused_until",
        "_share",
        "crawl_delay_seconds",
        "traffic",
        "turn",
        "used",
    )

    def __init__(self, share: float = 1.0) -> None:
        """`share`: how much of the server's limit is ours; below 1 it is spread evenly.

        The rest is left to whoever asks from the same address, such as a listener.
        """
        self._share = share
        self.turn = asyncio.Lock()
        self.traffic = Traffic()
        self.used: float | None = None
        """How much of its limit the host says is used by now, 0 to 1; None if it does not say."""
        self._not_before = 0.0
        self._refused_until = 0.0
        self.crawl_delay_seconds = 0.0
        """The pause that the host's robots.txt asks for."""

    def delay(self) -> float:
        """Return the seconds until the next timeline request is allowed; 0 if it is now."""
        return max(0.0, self._not_before - time.monotonic())

    def refused_for(self) -> float:
        """Return the seconds until a refusal allows any request again; 0 if one is allowed now."""
        return max(0.0, self._refused_until - time.monotonic())

    def observe(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of a response's status and headers (any case-insensitive mapping)."""
        reset, retry_after = _seconds_until_reset(headers), _retry_after(headers)
        limit = _number(headers.get("X-RateLimit-Limit"))
        remaining = _number(headers.get("X-RateLimit-Remaining"))
        if limit and remaining is not None and limit > 0:
            self.used = min(max(1 - remaining / limit, 0.0), 1.0)
        if status == 429:
            stated = [s for s in (reset, retry_after) if s is not None]
            # Jitter spreads a thousand listeners. A reset that has just passed still means a pause.
            seconds = max(1.0, max(stated, default=_DEFAULT_WAIT_SECONDS))
            wait = seconds * random.uniform(1.0, 1.1)
            self._refused_until = time.monotonic() + wait
        elif status >= 500 and retry_after is not None:
            wait = retry_after * random.uniform(1.0, 1.1)  # Mostly 503: maintenance.
            self._refused_until = time.monotonic() + wait
        else:
            spacing = _spacing(headers, reset, self._share)
            wait = max(spacing, self.crawl_delay_seconds / self._share)
        self._not_before = time.monotonic() + wait

    def observe_refusal(self, status: int, headers: Mapping[str, str]) -> None:
        """Take note of a refusal outside the timeline, if it asks for a pause."""
        if status == 429 or (status >= 500 and _retry_after(headers) is not None):
            self.observe(status, headers)


class RateBudgets:
    """The budgets of all hosts; the feeds of a host share one."""

    def __init__(self) -> None:
        self._budgets: dict[str, RateBudget] = {}

    def for_host(self, base_url: str) -> RateBudget:
        """Return the budget of the server at `base_url`."""
        return self._budgets.setdefault(urlsplit(base_url).netloc, RateBudget())


def _spacing(headers: Mapping[str, str], reset: float | None, share: float) -> float:
    remaining = _number(headers.get("X-RateLimit-Remaining"))
    limit = _number(headers.get("X-RateLimit-Limit"))
    if remaining is None or reset is None:
        return _DEFAULT_SPACING_SECONDS / share
    if share < 1:
        ours = remaining - (limit if limit else remaining) * (1 - share)
        return reset / ours if ours >= 1 else reset
    if remaining < 1:
        return reset
    # Full speed, until the last quarter: that is spread over the rest of the window.
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
        # By the server's clock if the response has a Date: ours may differ.
        date = headers.get("Date")
        now = parsedate_to_datetime(date).timestamp() if date else time.time()
    except _NO_TIME:
        return None
    return min(max(epoch - now, 0.0), _LONGEST_WAIT_SECONDS)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    text = headers.get("Retry-After")
    if not text:
        return None
    seconds = _number(text)
    if seconds is None:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - time.time()
        except _NO_TIME:
            return None
    return min(max(seconds, 0.0), _LONGEST_WAIT_SECONDS)


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
