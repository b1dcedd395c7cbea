"""Reading from the timeline what a stream could not bring, while the stream already runs.

The stream is connected first, so nothing falls between the two; what both bring is recorded once.
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
from mastodon_pipeline.listening.client.backoff import Backoff
from mastodon_pipeline.listening.following.discovery import PARKING_REFUSALS
from mastodon_pipeline.listening.following.position import FeedPosition, Gap
from mastodon_pipeline.listening.following.statistics import ServerStatistics, UnfilledGap
from mastodon_pipeline.listening.following.timeline import BEFORE_EVERYTHING, TimelineReader, later
from mastodon_pipeline.listening.protocol.ids import listed_at

AcceptMissed = Callable[[list[bytes]], tuple[str, bool]]
"""Records what of a page is new; returns the page's latest id, and whether anything was new."""
_log = logging.getLogger(__name__)


class GapFilling:
    """Fills one server's gaps, one after the other.

    **What can be lost here:** a gap on a server whose timeline refuses us is given up, and told
    with its bounds and the reason in the statistics. Every other failure is tried again until it
    is filled; the position waits at the gap until then, so a restart begins there.
    """

    def __init__(
        self,
        position: FeedPosition,
        accept_missed: AcceptMissed,
        statistics: ServerStatistics,
        failed: Callable[[DeliveryFailed], None],
    ) -> None:
        self._position = position
        self._accept_missed = accept_missed
        self._statistics = statistics
        self._failed = failed
        self._gaps: deque[tuple[Gap, TimelineReader]] = deque()
        self._filling: asyncio.Task[None] | None = None

    def add(self, gap: Gap, reader: TimelineReader) -> None:
        """A stream has connected; this gap lies before it, to be read with this reader."""
        self._gaps.append((gap, reader))
        self._statistics.open_gaps = self._position.open_gaps
        if self._filling is None or self._filling.done():
            self._filling = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Leaves what is not filled to the next listener."""
        if self._filling is not None:
            self._filling.cancel()
            await asyncio.wait([self._filling])

    async def _run(self) -> None:
        while self._gaps:
            gap, reader = self._gaps[0]
            try:
                await self._fill(gap, reader)
            except DeliveryFailed as error:
                self._failed(error)  # The gap stays open: the next listener begins there.
                return
            self._gaps.popleft()
            self._position.close_gap(gap)
            self._statistics.open_gaps = self._position.open_gaps

    async def _fill(self, gap: Gap, reader: TimelineReader) -> None:
        backoff = Backoff()
        while True:
            try:
                if await self._read_on(gap, reader):
                    self._statistics.gaps_filled += 1
                    return
                continue
            except DeliveryFailed:
                raise
            except (UnsafeAddress, CrossHostRedirect) as error:
                self._give_up(gap, str(error))
                return
            except Refused as refused:
                if refused.status in PARKING_REFUSALS:
                    self._give_up(gap, f"the timeline answers {refused}")
                    return
            except Unreachable:
                pass
            except Exception:
                _log.exception("%s: filling a gap failed", self._statistics.server.name)
            await asyncio.sleep(backoff.next_wait())

    async def _read_on(self, gap: Gap, reader: TimelineReader) -> bool:
        """Reads one page of the gap; True where the gap is filled."""
        began_at = gap.read_up_to
        page = await reader.page(began_at)
        newest, anything_new = self._accept_missed(page)
        reached = later(began_at or BEFORE_EVERYTHING, newest)
        self._position.gap_read(gap, reached)
        if began_at is None or reached == began_at:
            # The first page of a feed never read before is its newest one: there is no more
            # before us to catch up with. An empty page is the end in any case.
            return True
        # A page with nothing new means that the stream has brought the rest, unless it lies in
        # the overlap, which is mostly known.
        return not anything_new and not gap.in_overlap()

    def _give_up(self, gap: Gap, reason: str) -> None:
        if gap.begins_at is None:
            return  # Nothing was ever read of this feed: nothing that was wanted is missing.
        now = time.time_ns() // 1_000_000
        after = gap.begins_at if gap.in_overlap() else gap.read_up_to or gap.begins_at
        unfilled = UnfilledGap(
            after_id=after,
            before_id=gap.ends_at,
            from_ms=_first(listed_at(after, now), gap.cut_at),
            to_ms=_first(listed_at(gap.ends_at, now), gap.connected_at),
            reason=reason,
            found_at_ms=now,
        )
        self._statistics.add_unfilled_gap(unfilled)
        _log.warning(
            "%s: the gap after %s cannot be filled: %s", self._statistics.server.name, after, reason
        )


def _first(told: int | None, clock: int | None) -> int | None:
    return told if told is not None else clock
