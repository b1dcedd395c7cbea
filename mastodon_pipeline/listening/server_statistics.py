"""What is to be known of one server at a glance."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

State = Literal["connecting", "streaming", "polling", "waiting", "parked", "stopped"]


@dataclass
class ServerStatistics:
    """One server's state and counts since its listener began. Written by its own threads."""

    server: str
    feed: str
    state: State = "connecting"
    reason: str = ""
    """Why it is parked, waiting, or polled."""
    toots: int = 0
    """New and edited toots taken."""
    deletes: int = 0
    dead_letters: int = 0
    connects: int = 0
    gaps_filled: int = 0
    gaps_lost: int = 0
    gap_reason: str = ""
    """Why the last lost gap could not be filled."""
    last_toot_created_at: int = 0
    """UTC milliseconds; the latest post time seen."""
    last_heard_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; the last toot or heartbeat."""
    last_toot_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds; when the last toot came (or the listener began)."""
    saved_position: str | None = None

    def now(self, state: State, reason: str = "") -> None:
        """Sets the state and why."""
        self.state = state
        self.reason = reason

    def took_toot(self, created_at: int) -> None:
        """Counts a toot with its post time, UTC milliseconds."""
        self.toots += 1
        self.last_toot_created_at = max(self.last_toot_created_at, created_at)
        self.last_heard_at = self.last_toot_at = time.monotonic()

    def heard(self) -> None:
        """The server has shown that it is there."""
        self.last_heard_at = time.monotonic()

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
            f"{self.server} {self.feed}: {self.state}{why}; {self.toots} toots, newest {newest}; "
            f"{self.deletes} deletes, {self.dead_letters} dead letters, "
            f"{self.reconnects} reconnects, {self.gaps_filled} gaps filled, {self.gaps_lost} lost"
        )
