"""How far one server's feed is safely in Kafka, whatever order acknowledgements come in.

The position is the id up to which everything the server listed has been acknowledged by the
broker. It only ever errs backwards: after a crash the listener reads on from it, and what was
already sent arrives twice, which readers dedupe. It must never run ahead, or toots would be lost.
"""

from collections import deque
from dataclasses import dataclass
from threading import Lock

from mastodon_pipeline.listening.timeline_pages import later


@dataclass(slots=True)
class Gap:
    """A stretch that a stream missed, being read from the timeline."""

    read_up_to: str | None
    """The id from which reading goes on; None where nothing was ever read of this feed."""


class FeedPosition:
    """One feed's position. All methods may be called from any thread."""

    def __init__(self, start: str | None) -> None:
        self._lock = Lock()
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
            gap = Gap(self._newest)
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
            reached = [self._newest, *(gap.read_up_to for gap in self._gaps)]
            if all(reached):
                place = min(reached, key=lambda status_id: (len(status_id or ""), status_id or ""))
                self._marks.append((self._sent, place or ""))
            while self._marks and self._marks[0][0] <= self._acknowledged_below:
                self._safe = self._marks.popleft()[1]
            return self._safe
