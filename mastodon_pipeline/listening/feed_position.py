"""How far one server's feed is safely in Kafka, whatever order acknowledgements come in.

The position is the id up to which everything the server listed has been acknowledged by the
broker. It only ever errs backwards: after a crash the listener reads on from it, and what was
already sent arrives twice, which readers dedupe. It must never run ahead, or toots would be lost.
"""

import time
from collections import deque
from dataclasses import dataclass
from threading import Lock

from mastodon_pipeline.listening.status_ids import moved_back
from mastodon_pipeline.listening.timeline_pages import later
from mastodon_pipeline.settings import Feed

OVERLAP_MS = 10 * 60 * 1000
"""How far before the position, in milliseconds, a feed with remote toots is read again."""


def overlap_ms(feed: Feed) -> int:
    """How far before its position a feed is read again after a gap, milliseconds.

    A server that fetches a remote toot dates its id by the toot's post time, so it appears below
    ids that were read before. A server's own toots never do.
    """
    return 0 if feed == "local" else OVERLAP_MS


@dataclass(slots=True)
class Gap:
    """A stretch that a stream missed, being read from the timeline."""

    begins_at: str | None
    """The newest id seen before it; None where nothing was ever read of this feed."""
    read_up_to: str | None
    """The id from which reading goes on: at first the overlap before `begins_at`."""

    def in_overlap(self) -> bool:
        """True while what has been read lies before the gap itself."""
        if self.begins_at is None or self.read_up_to is None:
            return False
        return later(self.begins_at, self.read_up_to) == self.begins_at

    @property
    def held_at(self) -> str | None:
        """Where it holds the position: what the overlap reads again was safe before."""
        return self.begins_at if self.in_overlap() else self.read_up_to


class FeedPosition:
    """One feed's position. All methods may be called from any thread.

    **What can be lost here:** a remote toot that the server fetched while nobody listened, and
    that was written more than `overlap_ms` before the newest toot read; where ids are no
    snowflakes, any that the server lists below what was read. On a polled feed a toot fetched
    between two polls waits for the next reconnect or restart, which reads the overlap.
    """

    def __init__(self, start: str | None, overlap_ms: int = 0) -> None:
        self._lock = Lock()
        self._overlap_ms = overlap_ms
        self._newest = start
        self._safe = start
        self._sent = 0
        self._acknowledged_below = 0
        self._acknowledged_ahead: set[int] = set()
        self._marks: deque[tuple[int, str]] = deque()
        self._gaps: list[Gap] = []

    @property
    def newest(self) -> str | None:
        """The latest id seen, acknowledged or not."""
        return self._newest

    @property
    def resumes_from(self) -> str | None:
        """Where reading goes on after a gap: the newest id less the overlap; None at the start."""
        if self._newest is None:
            return None
        return moved_back(self._newest, self._overlap_ms, time.time_ns() // 1_000_000)

    @property
    def open_gaps(self) -> int:
        """How many gaps are still being filled."""
        return len(self._gaps)

    def sending(self) -> int:
        """A ticket for something about to be sent; hand it back to `acknowledged`."""
        with self._lock:
            self._sent += 1
            return self._sent - 1

    def acknowledged(self, ticket: int) -> None:
        """The broker has what this ticket stands for."""
        with self._lock:
            self._acknowledged_ahead.add(ticket)
            while self._acknowledged_below in self._acknowledged_ahead:
                self._acknowledged_ahead.remove(self._acknowledged_below)
                self._acknowledged_below += 1

    def saw(self, status_id: str) -> None:
        """A toot with this id has been sent (its ticket was taken before)."""
        with self._lock:
            self._newest = later(self._newest or "", status_id)

    def open_gap(self) -> Gap:
        """A stream has just connected: what lies between the newest id seen and now is missing.

        Until `close_gap` the position does not pass what the gap has been read up to.
        """
        with self._lock:
            gap = Gap(self._newest, self.resumes_from)
            self._gaps.append(gap)
            return gap

    def gap_read(self, gap: Gap, up_to: str) -> None:
        """Everything of the gap up to this id has been sent."""
        with self._lock:
            gap.read_up_to = up_to
            self._newest = later(self._newest or "", up_to)

    def close_gap(self, gap: Gap) -> None:
        """The gap is filled, or can never be."""
        with self._lock:
            # By identity: two gaps may stand at the same id.
            self._gaps = [other for other in self._gaps if other is not gap]

    def safe(self) -> str | None:
        """The id up to which everything is acknowledged; None before there is one.

        Called every few seconds: it notes how far reading is now, and returns the latest such
        note whose toots have all been acknowledged since.
        """
        with self._lock:
            reached = [self._newest, *(gap.held_at for gap in self._gaps)]
            if all(reached):
                place = min(reached, key=lambda status_id: (len(status_id or ""), status_id or ""))
                self._marks.append((self._sent, place or ""))
            while self._marks and self._marks[0][0] <= self._acknowledged_below:
                self._safe = self._marks.popleft()[1]
            return self._safe
