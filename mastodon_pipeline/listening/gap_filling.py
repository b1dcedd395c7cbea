"""Reading from the timeline what a stream could not bring, while the stream already runs.

The stream is connected first, so nothing falls between the two; what both bring is recorded once.
"""

import logging
import time
from collections.abc import Callable
from queue import Queue
from threading import Event

from mastodon_pipeline.listening.backoff import Backoff
from mastodon_pipeline.listening.discovery import PARKING_REFUSALS
from mastodon_pipeline.listening.feed_position import FeedPosition, Gap
from mastodon_pipeline.listening.server_session import (
    CrossHostRedirect,
    Refused,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.server_statistics import ServerStatistics, UnfilledGap
from mastodon_pipeline.listening.timeline_pages import (
    BEFORE_EVERYTHING,
    TimelineReader,
    later,
)
from mastodon_pipeline.listening.toot_sink import DeliveryFailed

AcceptMissed = Callable[[list[bytes]], tuple[str, bool]]
"""Records what of a page is new; returns the page's latest id, and whether anything was new."""
_log = logging.getLogger(__name__)


class GapFilling:
    """Fills one connection's gap; `run` is a thread's body and never raises.

    **What can be lost here:** a gap on a server whose timeline refuses us is given up, with the
    reason in the statistics. Every other failure is tried again until it is filled; the position
    waits at the gap until then, so a restart begins there.
    """

    def __init__(
        self,
        reader: TimelineReader,
        position: FeedPosition,
        accept_missed: AcceptMissed,
        statistics: ServerStatistics,
        stop: Event,
    ) -> None:
        self._reader = reader
        self._position = position
        self._accept_missed = accept_missed
        self._statistics = statistics
        self._stop = stop
        self._gaps: Queue[Gap | None] = Queue()
        self._backoff = Backoff()

    def add(self, gap: Gap) -> None:
        """The stream has connected; this gap lies before it."""
        self._gaps.put(gap)

    def no_more(self) -> None:
        """The stream has ended; a gap that is being filled is still filled to its end."""
        self._gaps.put(None)

    def run(self) -> None:
        """Fills gaps until `no_more`, or until `stop` is set."""
        while (gap := self._gaps.get()) is not None:
            self._fill(gap)

    def _fill(self, gap: Gap) -> None:
        while not self._stop.is_set():
            try:
                if self._read_on(gap):
                    break
            except DeliveryFailed:
                return  # The gap stays open: the next listener begins there.
            except (UnsafeAddress, CrossHostRedirect) as error:
                self._give_up(gap, str(error))
                return
            except Refused as refused:
                if refused.status in PARKING_REFUSALS:
                    self._give_up(gap, f"the timeline answers {refused}")
                    return
                self._stop.wait(self._backoff.next_wait())
            except Unreachable:
                self._stop.wait(self._backoff.next_wait())
            except Exception:
                _log.exception("%s: filling a gap failed", self._statistics.server)
                self._stop.wait(self._backoff.next_wait())
        else:
            return
        self._position.close_gap(gap)
        self._statistics.gaps_filled += 1

    def _read_on(self, gap: Gap) -> bool:
        """Reads one page of the gap; True where the gap is filled."""
        began_at = gap.read_up_to
        page = self._reader.page(began_at)
        if self._stop.is_set():
            return False
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
        _log.warning(
            "%s: the gap after %s cannot be filled: %s",
            self._statistics.server,
            gap.read_up_to or "the start",
            reason,
        )
        self._statistics.lost_gap(
            UnfilledGap(gap.read_up_to or "", "", None, None, reason, time.time_ns() // 1_000_000)
        )
        self._position.close_gap(gap)
