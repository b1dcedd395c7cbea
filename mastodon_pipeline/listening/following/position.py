"""How far one server's feed is safely in Kafka, in whatever order acknowledgements arrive.

The position is the id up to which the broker has acknowledged everything that the server listed.
It only errs backwards: after a crash the listener resumes from it, and what was already sent
arrives twice, which readers dedupe. It must never run ahead, or toots would be lost.
"""

import time
from collections import deque
from dataclasses import dataclass
from threading import Lock

from mastodon_pipeline.listening.following.tally import HourTally, Tallies
from mastodon_pipeline.listening.protocol.ids import later, moved_back
from mastodon_pipeline.listening.records.sink import Acknowledged
from mastodon_pipeline.servers import Feed

OVERLAP_MS = 10 * 60 * 1000
"""How far before its position a feed with remote toots is read again."""
LOCAL_OVERLAP_MS = 60 * 1000
"""The same of a feed with the server's own toots alone."""


def overlap_ms(feed: Feed) -> int:
    """Return how far before its position a feed is read again after a gap, milliseconds.

    A server that fetches a remote toot derives its id from the toot's post time, so it appears
    minutes below ids that were read before. A server's own toots appear seconds below: Mastodon
    sends its events out of the order of their ids, and some after the toot is listed; GoToSocial
    gives a toot its id up to 10 s before it lists it. Measured beside a busy Mastodon 4.5: without
    an overlap 108 of 4,798 toots were lost by one restart, with 60 s none of 8,182.
    """
    return LOCAL_OVERLAP_MS if feed == "local" else OVERLAP_MS


@dataclass(slots=True)
class Gap:
    """What a stream missed, being read from the timeline."""

    begins_at: str | None
    """The newest id read before it; None if nothing was ever read of this feed."""
    read_up_to: str | None
    """The id after which reading continues: at first the overlap before `begins_at`."""
    cut_at: int | None = None
    """The last sign of life of the stream before it, UTC milliseconds; None after a restart."""
    connected_at: int = 0
    """When the stream after it was opened, UTC milliseconds."""
    ends_at: str = ""
    """The first id of the stream after it; '' until there is one."""

    def in_overlap(self) -> bool:
        """Return whether reading is still in the overlap, before the gap itself."""
        if self.begins_at is None or self.read_up_to is None:
            return False
        return later(self.begins_at, self.read_up_to) == self.begins_at

    @property
    def holds_at(self) -> str | None:
        """The id that the position may not pass: what the overlap reads again was safe before."""
        return self.begins_at if self.in_overlap() else self.read_up_to


class _Epoch:
    """What was sent between two calls of `FeedPosition.advance`."""

    __slots__ = (
        "_lock",
        "acknowledge",
        "acknowledged",
        "read_up_to",
        "records",
        "sent",
        "tally",
    )

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self.sent = 0
        self.acknowledged = 0
        self.tally: HourTally | None = None
        """Of the hour in which its records were received; None if there are none."""
        self.records = 0
        """How many of those sent are records; the others are dead letters."""
        self.read_up_to: str | None = None
        """Where reading was when the epoch was closed; None if an open gap precedes it."""
        self.acknowledge: Acknowledged = self._acknowledge  # One bound method for all its toots.

    def _acknowledge(self) -> None:
        # Called by the thread that serves the producer's delivery reports.
        with self._lock:
            self.acknowledged += 1


class FeedPosition:
    """One feed's position. All methods may be called from any thread.

    Toots are counted by epochs, not one by one: each call of `advance` closes an epoch, and where
    reading was then is safe once everything sent in it and before it has been acknowledged.

    **What can be lost here:** a remote toot that the server fetched while nobody listened, and
    that was written more than `overlap_ms` before the newest toot read; if ids contain no time, any
    toot that the server lists below what was read.
    """

    __slots__ = (
        "_closed",
        "_epoch",
        "_gaps",
        "_lock",
        "_newest",
        "_overlap_ms",
        "_safe",
        "tallies",
    )

    def __init__(self, start: str | None, overlap_ms: int = 0) -> None:
        self._lock = Lock()
        self._overlap_ms = overlap_ms
        self._newest = start
        self._safe = start
        self._epoch = _Epoch(self._lock)
        self._closed: deque[_Epoch] = deque()
        self._gaps: list[Gap] = []
        self.tallies = Tallies()
        """What became of what was read, by hour; the acknowledged as of the last `advance`."""

    @property
    def newest(self) -> str | None:
        """The latest id that was read; None before there is one."""
        return self._newest

    @property
    def resumes_from(self) -> str | None:
        """The id to resume from after a gap: the newest less the overlap; None at the start."""
        if self._newest is None:
            return None
        return moved_back(self._newest, self._overlap_ms, time.time_ns() // 1_000_000)

    @property
    def overlap_seconds(self) -> float:
        """How far below the newest id toots may still appear, in time."""
        return self._overlap_ms / 1000

    @property
    def open_gaps(self) -> int:
        """How many gaps are being filled."""
        return len(self._gaps)

    def track_send(self, tally: HourTally | None = None) -> Acknowledged:
        """Count something about to be sent; call the result once the broker has it.

        `tally`: of the hour in which it was received, if it is a record.
        """
        with self._lock:
            epoch = self._epoch
            if tally is not None:
                if epoch.tally is not tally:
                    if epoch.tally is not None:
                        self._close_epoch()
                        epoch = self._epoch
                    epoch.tally = tally
                epoch.records += 1
            epoch.sent += 1
            return epoch.acknowledge

    def note_read(self, status_id: str) -> None:
        """Note that this id has been read; what had to be sent of it is tracked already."""
        newest = self._newest
        if newest is None or later(newest, status_id) == status_id:
            self._newest = status_id

    def open_gap(self, cut_at: int | None = None) -> Gap:
        """Open a gap between the newest id read and the stream that has just connected.

        Until `close_gap` the position does not pass what has been read of the gap.
        """
        with self._lock:
            now = time.time_ns() // 1_000_000
            gap = Gap(self._newest, self.resumes_from, cut_at, now)
            self._gaps.append(gap)
            return gap

    def note_gap_read(self, gap: Gap, up_to: str) -> None:
        """Note that everything of the gap up to this id has been sent."""
        with self._lock:
            gap.read_up_to = up_to
        self.note_read(up_to)

    def close_gap(self, gap: Gap) -> None:
        """Close a gap that is filled, or never can be."""
        with self._lock:
            # By identity: two gaps may begin at the same id.
            self._gaps = [other for other in self._gaps if other is not gap]

    def advance(self) -> str | None:
        """Close an epoch and return the id up to which everything is acknowledged, or None.

        Called every few seconds. The result is where reading was at the end of the latest epoch
        whose toots, and those of the epochs before it, have all been acknowledged.
        """
        with self._lock:
            self._close_epoch()
            while self._closed and self._closed[0].acknowledged >= self._closed[0].sent:
                epoch = self._closed.popleft()
                if epoch.tally is not None:
                    epoch.tally.acknowledged += epoch.records
                if epoch.read_up_to is not None:
                    self._safe = epoch.read_up_to
            return self._safe

    def _close_epoch(self) -> None:
        read_up_to = self._newest
        for gap in self._gaps:
            limit = gap.holds_at
            if limit is None or read_up_to is None:
                read_up_to = None
                break
            read_up_to = limit if later(limit, read_up_to) == read_up_to else read_up_to
        if self._epoch.sent > 0:
            self._epoch.read_up_to = read_up_to
            self._closed.append(self._epoch)
            self._epoch = _Epoch(self._lock)
        elif read_up_to is not None and self._closed:
            # Nothing was sent since: once the last epoch is safe, so is where reading is now. So an
            # idle feed, or one whose broker is down, does not pile up empty epochs.
            self._closed[-1].read_up_to = read_up_to
        elif read_up_to is not None:
            self._safe = read_up_to
