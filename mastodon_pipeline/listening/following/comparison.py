"""Comparing an open stream with the timeline, rarely and politely.

A stream can stay open, heartbeats included, and lose events: Mastodon's streaming server loses its
subscription while Redis is away (seen on Mastodon 4.5: 20 of 45 toots never came). So the newest
pages of the timeline are compared with what the stream brought, every ten minutes and after each
longer silence. What the stream lost is recorded, counted, and the stream is opened again.

**What can be lost here:** on a server that lists more than `_PAGES` pages between two comparisons,
toots that the stream lost and that are older than those pages, unless newer ones are missing too:
then everything since the last comparison is read. The position has passed a loss by the time it is
noticed, so of a listener that dies before it has read all of it, the next one reads the overlap.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable

from mastodon_pipeline.errors import DeliveryFailed, ServerError
from mastodon_pipeline.listening.client.pacing import Timings
from mastodon_pipeline.listening.following.gaps import GapFiller
from mastodon_pipeline.listening.following.position import Gap
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.timeline import TimelineReader
from mastodon_pipeline.listening.protocol.ids import later, listed_at, moved_back

_PAGES = 5
_log = logging.getLogger(__name__)


class StreamComparison:
    """Compares one open stream with its timeline."""

    def __init__(
        self, reader: TimelineReader, recorder: TootRecorder, gaps: GapFiller, timings: Timings
    ) -> None:
        self._reader = reader
        self._recorder = recorder
        self._gaps = gaps
        self._timings = timings
        self._agreed_id = recorder.position.newest
        """Up to this id nothing is compared: None until something has been read of the feed."""

    async def run(
        self, reopen: Callable[[], None], on_failure: Callable[[Exception], None]
    ) -> None:
        """Compare again and again; count toots that the stream lost, and call `reopen` once.

        `on_failure` is called with DeliveryFailed: nothing more can be recorded.
        """
        statistics = self._recorder.statistics
        while True:
            try:
                lost = await self.until_toots_are_missing()
            except DeliveryFailed as error:
                on_failure(error)
                return
            except Exception:
                _log.exception("%s: comparing failed", statistics.server.name)
                await asyncio.sleep(self._timings.compare_seconds)
                continue
            statistics.lost_by_streams += lost
            name = statistics.server.name
            _log.warning("%s: the stream lost %d toots; opening it again", name, lost)
            reopen()
            return

    async def until_toots_are_missing(self) -> int:
        """Compare again and again; return how many toots the stream lost, once it lost any.

        Raises DeliveryFailed. A timeline that cannot be read is asked again next time.
        """
        statistics, timings = self._recorder.statistics, self._timings
        pause, compared_at = timings.silence_check_seconds, time.monotonic()
        while True:
            await asyncio.sleep(pause * random.uniform(1.0, 1.1))
            now = time.monotonic()
            silent = now - statistics.last_toot_at >= pause
            if not silent:
                pause = timings.silence_check_seconds
                if now - compared_at < timings.compare_seconds:
                    continue
            try:
                if missing := await self._compare():
                    return missing
            except ServerError as error:
                _log.info("%s: not compared: %s", statistics.server.name, error)
            compared_at = time.monotonic()
            if silent:
                pause = min(2 * pause, timings.compare_seconds)

    async def _compare(self) -> int:
        """Record what the stream should have brought and did not; return how many toots."""
        recorder, position = self._recorder, self._recorder.position
        if self._agreed_id is None:
            self._agreed_id = position.newest
            return 0
        statuses = await self._reader.newest(self._agreed_id, _PAGES)
        now = time.time_ns() // 1_000_000
        newest, missing = self._agreed_id, 0
        for payload in statuses:
            status_id, new = recorder.take(payload, "update", "gap")
            newest = later(newest, status_id)
            missing += bool(status_id and new and self._should_be_known(status_id, now))
        if missing:
            # All of it counts as overlap: known pages do not end it, and the position moves on.
            self._gaps.add(Gap(begins_at=newest, read_up_to=self._agreed_id), self._reader)
        self._agreed_id = moved_back(newest, int(position.overlap_seconds * 1000), now)
        return missing

    def _should_be_known(self, status_id: str, now: int) -> bool:
        at = listed_at(status_id, now)
        latest = now - int(self._timings.late_event_seconds * 1000)
        return at is None or self._recorder.remembers_since < at <= latest
