"""Reading from the timeline what a stream missed, while the next stream is already open.

The stream is opened first, so nothing falls between the two; what both bring is recorded once.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    DeliveryFailed,
    Refused,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.listening.following.cancellation import is_cancelled
from mastodon_pipeline.listening.following.mode import PARKING_REFUSALS
from mastodon_pipeline.listening.following.position import Gap
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.following.timeline import (
    BEFORE_EVERYTHING,
    NEWEST_PAGE_ONLY,
    TimelineReader,
)
from mastodon_pipeline.listening.protocol.ids import later, listed_at

_log = logging.getLogger(__name__)


class GapFiller:
    """Fills one server's gaps, one after the other.

    **What can be lost here:** a gap on a server whose timeline refuses us is given up, and reported
    in the statistics with its start, end and reason: at once if the refusal is JSON, so of the
    application itself, else after an hour of them. Of a server that shows its newest page only,
    what lies before that page is reported likewise. Every other failure is retried until the gap
    is filled; until then the position stays at the gap, so a restart resumes there.
    """

    def __init__(
        self,
        recorder: TootRecorder,
        on_failure: Callable[[Exception], None],
        refusal_seconds: float,
    ) -> None:
        """`on_failure` is called with DeliveryFailed: nothing more can be recorded.

        `refusal_seconds`: how long refusals are retried that are not the application's own.
        """
        self._refusal_seconds = refusal_seconds
        self._recorder = recorder
        self._on_failure = on_failure
        self._gaps: deque[tuple[Gap, TimelineReader]] = deque()
        self._task: asyncio.Task[None] | None = None

    def add(self, gap: Gap, reader: TimelineReader) -> None:
        """Fill this gap, with this reader, after those added before."""
        self._gaps.append((gap, reader))
        self._recorder.statistics.open_gaps = self._recorder.position.open_gaps
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Stop filling; what is not filled is left to the next listener."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        backoff = Backoff()
        while self._gaps:
            gap, reader = self._gaps[0]
            try:
                await self._fill(gap, reader)
            except DeliveryFailed as error:
                self._on_failure(error)  # The gap stays open: the next listener resumes there.
                return
            except (Exception, asyncio.CancelledError):
                if is_cancelled():
                    raise
                _log.exception("%s: filling a gap failed", self._recorder.statistics.server.name)
                await asyncio.sleep(backoff.next_wait())
                continue
            self._gaps.popleft()
            self._recorder.position.close_gap(gap)
            self._recorder.statistics.open_gaps = self._recorder.position.open_gaps

    async def _fill(self, gap: Gap, reader: TimelineReader) -> None:
        statistics, backoff = self._recorder.statistics, Backoff()
        give_up_at, lost = time.monotonic() + self._refusal_seconds, statistics.gaps_lost
        while True:
            try:
                while not await self._read_page(gap, reader):
                    pass
                statistics.gaps_filled += statistics.gaps_lost == lost
                return
            except DeliveryFailed:
                raise
            except (UnsafeAddress, CrossHostRedirect) as error:
                self._give_up(gap, str(error))
                return
            except Refused as refused:
                # A page for people may come from a bot wall before the server, and pass.
                final = "json" in refused.headers.get("Content-Type", "").lower()
                if refused.status in PARKING_REFUSALS and (final or time.monotonic() > give_up_at):
                    self._give_up(gap, f"the timeline answers {refused}")
                    return
            except Unreachable:
                pass
            await asyncio.sleep(backoff.next_wait())

    async def _read_page(self, gap: Gap, reader: TimelineReader) -> bool:
        """Record one page of the gap and return whether the gap is filled."""
        min_id = gap.read_up_to
        page = await reader.page(min_id)
        hole = page.hole_before
        if hole and later(hole, gap.begins_at or "") == hole != gap.begins_at:  # not in the overlap
            self._give_up(gap, NEWEST_PAGE_ONLY, hole)
        latest, anything_new = self._recorder.take_page(page.statuses, "gap")
        read_up_to = later(min_id or BEFORE_EVERYTHING, latest)
        self._recorder.position.note_gap_read(gap, read_up_to)
        if min_id is None or read_up_to == min_id:
            # The first page of a feed never read before is its newest: there is nothing before it
            # to catch up with. An empty page is the end in any case.
            return True
        # A page with nothing new means that the stream has brought the rest, except within the
        # overlap, which is mostly known.
        return not anything_new and not gap.in_overlap()

    def _give_up(self, gap: Gap, reason: str, before_id: str = "") -> None:
        """Report the gap's rest as unfilled, or what of it lies before an id."""
        if gap.begins_at is None:
            return  # Nothing was ever read of this feed: nothing that was wanted is missing.
        now = time.time_ns() // 1_000_000
        after = gap.begins_at if gap.in_overlap() else gap.read_up_to or gap.begins_at
        before = before_id or gap.ends_at
        begins_ms, ends_ms = listed_at(after, now), listed_at(before, now)
        unfilled = UnfilledGap(
            after_id=after,
            before_id=before,
            from_ms=gap.cut_at if begins_ms is None else begins_ms,
            to_ms=gap.connected_at if ends_ms is None else ends_ms,
            reason=reason,
            found_at_ms=now,
        )
        statistics = self._recorder.statistics
        statistics.add_unfilled_gap(unfilled)
        _log.warning(
            "%s: the gap after %s cannot be filled: %s", statistics.server.name, after, reason
        )
