"""The waits between two attempts to follow a server, and what is done meanwhile.

A stream that cannot be opened again and again is polled between the attempts, so that a server
whose streaming alone is broken is not lost.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial

from mastodon_pipeline.errors import DeliveryFailed, ServerError
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.timeline import TimelineReader

_FAILED_OPENS = 3
"""Failures to open a stream in a row, seconds apart, after which it is polled between the next."""
Poll = Callable[[TimelineReader, float, Callable[[], None]], Awaitable[None]]
"""Polls with a reader until a time, monotonic seconds, and calls back after each page."""
_log = logging.getLogger(__name__)


class Retries:
    """One server's attempts."""

    def __init__(
        self,
        statistics: ServerStatistics,
        backoff: Backoff,
        budget: RateBudget,
        poll: Poll,
        on_failure: Callable[[Exception], None],
    ) -> None:
        """`on_failure` is called with DeliveryFailed: nothing more can be recorded."""
        self._statistics = statistics
        self._backoff = backoff
        self._budget = budget
        self._poll = poll
        self._on_failure = on_failure
        self._failed_opens = 0
        """Attempts to open a stream since one succeeded."""
        self._opening: TimelineReader | None = None
        """Reads the timeline in the place of a stream that cannot be opened."""

    def note_opening(self, reader: TimelineReader) -> None:
        """Note that a stream is about to be opened, whose timeline this reader reads."""
        self._failed_opens += 1
        self._opening = reader

    def note_connected(self) -> None:
        """Note that a stream is open, or a page has been read."""
        self._backoff.note_connected()

    def note_open(self) -> None:
        """Note that a stream is open."""
        self._failed_opens = 0
        self.note_connected()

    def note_parked(self) -> None:
        """Note that the server refuses us: it is not polled meanwhile."""
        self._failed_opens = 0

    def seconds_after(self, reason: str) -> float:
        """Return how long to wait after an attempt that ended for this reason; set the state."""
        wait = max(self._backoff.next_wait(), self._budget.refused_for())
        self._statistics.set_state("waiting", f"{reason}; again in {wait:.0f} s")
        _log.info("%s: %s; again in %.1f s", self._statistics.server.name, reason, wait)
        return wait

    async def wait(self, seconds: float) -> None:
        """Wait before the next attempt; poll meanwhile if the stream keeps failing to open."""
        until = time.monotonic() + seconds
        if self._failed_opens >= _FAILED_OPENS and self._opening is not None:
            polling = partial(self._statistics.set_state, "polling", self._statistics.reason)
            try:
                await self._poll(self._opening, until, polling)
            except DeliveryFailed as error:
                self._on_failure(error)
            except ServerError as error:
                name = self._statistics.server.name
                _log.info("%s: nor can its timeline be read: %s", name, error)
        await asyncio.sleep(max(0.0, until - time.monotonic()))
