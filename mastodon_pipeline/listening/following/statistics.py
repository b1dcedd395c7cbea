"""What is to be known of one server at a glance."""

import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from mastodon_pipeline.settings import Feed

State = Literal["connecting", "streaming", "websocket", "polling", "waiting", "parked", "stopped"]
"""`streaming` is over server-sent events, `websocket` the same over a WebSocket."""
RATE_SECONDS = 300
"""`toots_per_minute` is the mean over so many seconds, or since the listener began."""
UNFILLED_GAPS_KEPT = 20
_BUCKET_SECONDS = 10


@dataclass(frozen=True, slots=True)
class UnfilledGap:
    """A stretch of a feed that was neither streamed nor could be read from the timeline."""

    after_id: str
    """The newest id that was read before it; '' where there was none."""
    before_id: str
    """The oldest id that was read after it; '' where it was given up before one came."""
    from_ms: int | None
    """When it begins, UTC milliseconds, as the ids or our clock tell; None where neither does."""
    to_ms: int | None
    reason: str
    found_at_ms: int
    """When it was given up, UTC milliseconds."""


@dataclass(slots=True)
class ServerStatistics:
    """One server's state and counts since its listener began.

    Written by the listener's event loop alone; may be read from any thread.
    """

    server: str
    feed: Feed
    state: State = "connecting"
    reason: str = ""
    """Why it is parked, waiting, or polled."""
    toots: int = 0
    """New and edited toots taken."""
    deletes: int = 0
    dead_letters: int = 0
    connects: int = 0
    open_gaps: int = 0
    """Gaps that are being filled."""
    gaps_filled: int = 0
    gaps_lost: int = 0
    """Gaps that could not be filled since the listener began."""
    unfilled_gaps: tuple[UnfilledGap, ...] = ()
    """The latest such gaps, at most 20, those of earlier listeners included."""
    last_toot_created_at: int = 0
    """UTC milliseconds; the latest post time seen."""
    last_activity_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; the last toot or heartbeat."""
    last_toot_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; when the last toot came (or the listener began)."""
    lag_seconds: float | None = None
    """How long after its post time the last streamed or polled toot was taken; None before one.

    Toots that fill a gap do not count: they are late because we were away.
    """
    _began: float = field(default_factory=time.monotonic)
    _bucket: int = 0
    _buckets: deque[tuple[int, int]] = field(
        default_factory=lambda: deque(maxlen=RATE_SECONDS // _BUCKET_SECONDS)
    )
    """Closed buckets of ten seconds: (number of the bucket, toots)."""
    _in_bucket: int = 0

    def set_state(self, state: State, reason: str = "") -> None:
        """Sets the state and why."""
        self.state = state
        self.reason = reason

    def count_toot(self, created_at: int, lag_ms: int | None = None) -> None:
        """Counts a toot with its post time, UTC milliseconds, and how late it came."""
        now = time.monotonic()
        self.toots += 1
        if created_at > self.last_toot_created_at:
            self.last_toot_created_at = created_at
        self.last_activity_at = self.last_toot_at = now
        if lag_ms is not None:
            self.lag_seconds = max(0, lag_ms) / 1000
        bucket = int(now) // _BUCKET_SECONDS
        if bucket != self._bucket:
            if self._in_bucket:
                self._buckets.append((self._bucket, self._in_bucket))
            self._bucket, self._in_bucket = bucket, 0
        self._in_bucket += 1

    def note_activity(self) -> None:
        """The server has shown that it is there."""
        self.last_activity_at = time.monotonic()

    def add_unfilled_gap(self, gap: UnfilledGap) -> None:
        """A gap was given up."""
        self.gaps_lost += 1
        self.unfilled_gaps = (*self.unfilled_gaps, gap)[-UNFILLED_GAPS_KEPT:]

    @property
    def toots_per_minute(self) -> float:
        """The mean over the last five minutes, or since the listener began where that is less."""
        now = time.monotonic()
        oldest = (int(now) - RATE_SECONDS) // _BUCKET_SECONDS
        # A copy first: the event loop may append meanwhile.
        counted = [*self._buckets.copy(), (self._bucket, self._in_bucket)]
        toots = sum(count for bucket, count in counted if bucket > oldest)
        return 60 * toots / min(max(now - self._began, 1.0), RATE_SECONDS)

    @property
    def gap_reason(self) -> str:
        """Why the last unfilled gap could not be filled; '' where there is none."""
        return self.unfilled_gaps[-1].reason if self.unfilled_gaps else ""

    @property
    def reconnects(self) -> int:
        """How often the stream was opened again."""
        return max(0, self.connects - 1)

    def line(self) -> str:
        """One line for a log or a terminal."""
        newest = (
            datetime.fromtimestamp(self.last_toot_created_at / 1000, UTC).strftime("%F %T UTC")
            if self.last_toot_created_at
            else "none yet"
        )
        why = f" ({self.reason})" if self.reason else ""
        return (
            f"{self.server} {self.feed}: {self.state}{why}; {self.toots} toots "
            f"({self.toots_per_minute:.1f}/min), newest {newest}; "
            f"{self.deletes} deletes, {self.dead_letters} dead letters, "
            f"{self.reconnects} reconnects, {self.gaps_filled} gaps filled, {self.gaps_lost} lost"
        )
