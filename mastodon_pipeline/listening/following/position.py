"""How far one server's feed is safely in Kafka, whatever order acknowledgements come in.

The position is the id up to which everything the server listed has been acknowledged by the
broker. It only ever errs backwards: after a crash the listener reads on from it, and what was
already sent arrives twice, which readers dedupe. It must never run ahead, or toots would be lost.
"""

import time
from collections import deque
from dataclasses import dataclass
from threading import Lock

from mastodon_pipeline.listening.following.timeline import later
from mastodon_pipeline.listening.protocol.ids import moved_back
from mastodon_pipeline.listening.records.sink import Acknowledged
from mastodon_pipeline.servers import Feed

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
    cut_at: int | None = None
    """When the stream before it was last heard of, UTC milliseconds; None after a restart."""
    connected_at: int = 0
    """When the stream after it was connected, UTC milliseconds."""
    ends_at: str = ""
    """The first id that this stream brought; '' before there is one."""

    def in_overlap(self) -> bool:
        """True while what has been read lies before the gap itself."""
        if self.begins_at is None or self.read_up_to is None:
            return False
        return later(self.begins_at, self.read_up_to) == self.begins_at

    @property
    def held_at(self) -> str | None:
        """Where it holds the position: what the overlap reads again was safe before."""
        return self.begins_at if self.in_overlap() else self.read_up_to


class _Epoch:
    """What was sent between two looks at the position."""

    __slots__ = ("_lock", "acknowledge", "acknowledged", "place", "sent")

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.sent = 0
        self.acknowledged = 0
        self.place: str | None = None
        """Where reading was when the epoch was closed; None where a gap hides it."""
        self.acknowledge: Acknowledged = self._acknowledge  # One bound method for all its toots.

    def _acknowledge(self) -> None:
        # Called by whichever thread serves the producer's delivery reports.
        with self._lock:
            self.acknowledged += 1


class FeedPosition:
    """One feed's position. All methods may be called from any thread.

    Toots are counted by epochs, not one by one: each call of `safe` closes an epoch, and its place
    is safe once everything sent in it and before it has been acknowledged.

    **What can be lost here:** a remote toot that the server fetched while nobody listened, and
    that was written more than `overlap_ms` before the newest toot read; where ids are no
    snowflakes, any that the server lists below what was read.
    """

    __slots__ = ("_closed", "_epoch", "_gaps", "_lock", "_newest", "_overlap_ms", "_safe")

    def __init__(self, start: str | None, overlap_ms: int = 0) -> None:
        self._lock = Lock()
        self._overlap_ms = overlap_ms
        self._newest = start
        self._safe = start
        self._epoch = _Epoch(self._lock)
        self._closed: deque[_Epoch] = deque()
        self._gaps: list[Gap] = []

    @property
    def resumes_from(self) -> str | None:
        """Where reading goes on after a gap: the newest id less the overlap; None at the start."""
        if self._newest is None:
            return None
        return moved_back(self._newest, self._overlap_ms, time.time_ns() // 1_000_000)

    @property
    def overlaps(self) -> bool:
        """Whether toots may still appear below the newest id."""
        return self._overlap_ms > 0

    @property
    def open_gaps(self) -> int:
        """How many gaps are still being filled."""
        return len(self._gaps)

    def sending(self) -> Acknowledged:
        """Something is about to be sent; what this returns is called once the broker has it."""
        with self._lock:
            epoch = self._epoch
            epoch.sent += 1
            return epoch.acknowledge

    def saw(self, status_id: str) -> None:
        """A toot with this id has been sent (`sending` was called before)."""
        newest = self._newest
        if newest is None or later(newest, status_id) == status_id:
            self._newest = status_id

    def open_gap(self, cut_at: int | None = None) -> Gap:
        """A stream has just connected: what lies between the newest id seen and now is missing.

        Until `close_gap` the position does not pass what the gap has been read up to.
        """
        with self._lock:
            now = time.time_ns() // 1_000_000
            gap = Gap(self._newest, self.resumes_from, cut_at, now)
            self._gaps.append(gap)
            return gap

    def gap_read(self, gap: Gap, up_to: str) -> None:
        """Everything of the gap up to this id has been sent."""
        with self._lock:
            gap.read_up_to = up_to
        self.saw(up_to)

    def close_gap(self, gap: Gap) -> None:
        """The gap is filled, or can never be."""
        with self._lock:
            # By identity: two gaps may stand at the same id.
            self._gaps = [other for other in self._gaps if other is not gap]

    def safe(self) -> str | None:
        """The id up to which everything is acknowledged; None before there is one.

        Called every few seconds: it closes an epoch where reading is now, and returns the place of
        the latest epoch whose toots, and those before it, have all been acknowledged.
        """
        with self._lock:
            self._close_epoch()
            while self._closed and self._closed[0].acknowledged >= self._closed[0].sent:
                epoch = self._closed.popleft()
                if epoch.place is not None:
                    self._safe = epoch.place
            return self._safe

    def _close_epoch(self) -> None:
        place = self._newest
        for gap in self._gaps:
            held = gap.held_at
            if held is None or place is None:
                place = None
                break
            place = held if later(held, place) == place else place
        if self._epoch.sent > 0:
            self._epoch.place = place
            self._closed.append(self._epoch)
            self._epoch = _Epoch(self._lock)
        elif place is not None and self._closed:
            # Nothing was sent since: when the last epoch is safe, so is where we are now. An idle
            # feed, and one whose broker is away, keep no row of empty epochs.
            self._closed[-1].place = place
        elif place is not None:
            self._safe = place
