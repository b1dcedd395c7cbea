"""One server's live counters, and the frozen snapshot of them that reports, tables and logs use."""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec

from mastodon_pipeline.foreign_text import clean_line
from mastodon_pipeline.listening.client.clock import clock_difference
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.client.traffic import Traffic
from mastodon_pipeline.servers import Server

State = Literal["connecting", "streaming", "websocket", "polling", "waiting", "parked", "stopped"]
"""`streaming` is over server-sent events, `websocket` the same over a WebSocket."""
LISTENING_STATES = ("streaming", "websocket", "polling")
RATE_WINDOW_SECONDS = 300.0
"""`toots_per_minute` is the mean over this time, or since the listener began if that is less."""
MAX_UNFILLED_GAPS = 20
"""The latest unfilled gaps that are saved with a feed's position."""
SNAPSHOT_GAPS = 5
"""The latest unfilled gaps in a snapshot: a thousand servers' snapshots are one stored value."""
MAX_REASON_CHARACTERS = 500
"""Of a state; a thousand servers' states are one stored value."""
_BUCKET_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class UnfilledGap:
    """A stretch of a feed that was neither streamed nor could be read from the timeline."""

    after_id: str
    """The newest id that was read before it; '' if there was none."""
    before_id: str
    """The oldest id that was read after it; '' if it was given up before one came."""
    from_ms: int | None
    """Its start, UTC milliseconds, by the ids or else our clock; None if neither has a time."""
    to_ms: int | None
    reason: str
    found_at_ms: int
    """When it was given up, UTC milliseconds."""


class ServerSnapshot(msgspec.Struct, frozen=True):
    """A server's figures at one moment, counted since its listener began."""

    server: Server
    state: State
    reason: str
    """Why it is parked, waiting or polled; may contain words of the server's."""
    toots: int
    deletes: int
    toots_per_minute: float
    lag_seconds: float | None
    newest_post_at_ms: int | None
    dead_letters: int
    reconnects: int
    lost_by_streams: int
    open_gaps: int
    gaps_filled: int
    gaps_lost: int
    unfilled_gaps: tuple[UnfilledGap, ...]
    """The latest of them, at most five, including those of earlier listeners."""
    dead_letters_dropped: int = 0
    """What could not be recorded and was not kept either, since it was too much."""
    not_public: int = 0
    """Toots in its public feed that are not public: not recorded."""
    excluded: int = 0
    """Toots of blocked authors, or of such who opted out if those are not counted."""
    clock_difference_seconds: float | None = None
    """How far this machine's clock is ahead of the server's; None if it has stated no time."""
    requests_per_hour: float = 0.0
    """Of the server's host, by all its feeds, over the last hour at most."""
    bytes_per_hour: float = 0.0
    rate_budget_used: float | None = None
    """How much of its rate limit was used when it stated that last, 0 to 1; None if it does not."""

    @property
    def listening(self) -> bool:
        """Whether its feed is being streamed or polled."""
        return self.state in LISTENING_STATES

    def line(self) -> str:
        """Return one line for a log or a terminal."""
        newest = format_utc(self.newest_post_at_ms, "none yet")
        reason = f" ({self.reason})" if self.reason else ""
        not_public = f", {self.not_public} not public" if self.not_public else ""
        used = self.rate_budget_used
        budget = "" if used is None else f", {used:.0%} of its rate limit used"
        traffic = (
            f"; {self.requests_per_hour:.0f} requests and {self.bytes_per_hour / 1000:.0f} kB an"
            f" hour{budget}"
            if self.requests_per_hour or self.bytes_per_hour
            else ""
        )
        excluded = f", {self.excluded} excluded" if self.excluded else ""
        dropped = f" and {self.dead_letters_dropped} too many" if self.dead_letters_dropped else ""
        return (
            f"{self.server.name} {self.server.feed}: {self.state}{reason}; {self.toots} toots "
            f"({self.toots_per_minute:.1f}/min), newest post (UTC) {newest}; "
            f"{self.deletes} deletes, {self.dead_letters} dead letters{dropped}, "
            f"{self.reconnects} reconnects, {self.gaps_filled} gaps filled, {self.gaps_lost} lost"
            f"{not_public}{excluded}{traffic}"
        )


@dataclass(slots=True)
class ServerStatistics:
    """One server's state and counters since its listener began.

    Only the listener's event loop writes them; any thread may read them.
    """

    server: Server
    state: State = "connecting"
    reason: str = ""
    """Why it is parked, waiting or polled."""
    toots: int = 0
    """New and edited toots recorded."""
    deletes: int = 0
    dead_letters: int = 0
    dead_letters_dropped: int = 0
    connects: int = 0
    lost_by_streams: int = 0
    """Toots that an open stream did not bring, read from the timeline instead."""
    open_gaps: int = 0
    """Gaps that are being filled."""
    gaps_filled: int = 0
    gaps_lost: int = 0
    """Gaps that could not be filled since the listener began."""
    unfilled_gaps: tuple[UnfilledGap, ...] = ()
    """The latest such gaps, at most 20, including those of earlier listeners."""
    not_public: int = 0
    """Toots in its public feed that are not public: not recorded."""
    excluded: int = 0
    """Toots of blocked authors, or of such who opted out if those are not counted."""
    clock_difference_seconds: float | None = None
    """How far this machine's clock is ahead of the server's; None before a page of its timeline."""
    traffic: Traffic = field(default_factory=Traffic)
    """Of the server's host."""
    budget: RateBudget | None = None
    """That host's."""
    last_toot_created_at: int = 0
    """UTC milliseconds; the latest post time."""
    last_activity_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; the last toot or heartbeat."""
    last_toot_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; when the last toot came, or the listener began."""
    lag_seconds: float | None = None
    """The time from post to arrival of the last streamed or polled toot; None before one.

    Toots that fill a gap do not count: they are late because we were away.
    """
    _began_at: float = field(default_factory=time.monotonic)
    _bucket: int = 0
    _buckets: deque[tuple[int, int]] = field(
        default_factory=lambda: deque(maxlen=int(RATE_WINDOW_SECONDS / _BUCKET_SECONDS))
    )
    """Closed buckets of ten seconds: (number of the bucket, toots)."""
    _in_bucket: int = 0

    def set_state(self, state: State, reason: str = "") -> None:
        """Set the state, and the reason for it, which may contain words of the server's."""
        self.state = state
        self.reason = clean_line(reason, MAX_REASON_CHARACTERS)

    def count_toot(self, created_at: int, lag_ms: int | None = None) -> None:
        """Count a toot with its post time, UTC milliseconds, and how late it came."""
        now = time.monotonic()
        self.toots += 1
        if created_at > self.last_toot_created_at:
            self.last_toot_created_at = created_at
        self.last_activity_at = self.last_toot_at = now
        if lag_ms is not None:
            self.lag_seconds = max(0, lag_ms) / 1000
        bucket = int(now // _BUCKET_SECONDS)
        if bucket != self._bucket:
            if self._in_bucket:
                self._buckets.append((self._bucket, self._in_bucket))
            self._bucket, self._in_bucket = bucket, 0
        self._in_bucket += 1

    def note_activity(self) -> None:
        """Note that the server has shown that it is there."""
        self.last_activity_at = time.monotonic()

    def note_headers(self, headers: Mapping[str, str]) -> None:
        """Compare the clocks, by a response's headers."""
        difference = clock_difference(headers, time.time())
        if difference is not None:
            self.clock_difference_seconds = round(difference, 1)

    def add_unfilled_gap(self, gap: UnfilledGap) -> None:
        """Count a gap that was given up."""
        self.gaps_lost += 1
        self.unfilled_gaps = (*self.unfilled_gaps, gap)[-MAX_UNFILLED_GAPS:]

    @property
    def toots_per_minute(self) -> float:
        """The mean over the last five minutes, or since the listener began if that is less."""
        now = time.monotonic()
        oldest = int((now - RATE_WINDOW_SECONDS) // _BUCKET_SECONDS)
        # A copy, because the event loop may append meanwhile.
        buckets = [*self._buckets.copy(), (self._bucket, self._in_bucket)]
        toots = sum(count for bucket, count in buckets if bucket > oldest)
        return 60 * toots / min(max(now - self._began_at, 1.0), RATE_WINDOW_SECONDS)

    @property
    def reconnects(self) -> int:
        """How often the stream was opened again."""
        return max(0, self.connects - 1)

    def snapshot(self) -> ServerSnapshot:
        """Return the figures as they are now."""
        requests_per_hour, bytes_per_hour = self.traffic.per_hour()
        used = self.budget.used if self.budget else None
        return ServerSnapshot(
            server=self.server,
            state=self.state,
            reason=self.reason,
            toots=self.toots,
            deletes=self.deletes,
            toots_per_minute=round(self.toots_per_minute, 2),
            lag_seconds=None if self.lag_seconds is None else round(self.lag_seconds, 1),
            newest_post_at_ms=self.last_toot_created_at or None,
            dead_letters=self.dead_letters,
            not_public=self.not_public,
            excluded=self.excluded,
            reconnects=self.reconnects,
            lost_by_streams=self.lost_by_streams,
            open_gaps=self.open_gaps,
            gaps_filled=self.gaps_filled,
            gaps_lost=self.gaps_lost,
            unfilled_gaps=self.unfilled_gaps[-SNAPSHOT_GAPS:],
            dead_letters_dropped=self.dead_letters_dropped,
            clock_difference_seconds=self.clock_difference_seconds,
            requests_per_hour=round(requests_per_hour, 1),
            bytes_per_hour=round(bytes_per_hour),
            rate_budget_used=None if used is None else round(used, 3),
        )


def format_utc(milliseconds: int | None, unknown: str = "unknown") -> str:
    """Return a time in UTC milliseconds as `YYYY-MM-DD HH:MM:SS`, or `unknown` for None."""
    if milliseconds is None:
        return unknown
    return f"{datetime.fromtimestamp(milliseconds / 1000, UTC):%F %T}"
