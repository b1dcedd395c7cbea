"""Let the servers go while nobody can see that this run is alive.

A run whose machine is cut off from Dagster's storage cannot see that it was replaced, and its
connections to servers may outlast the cut. So it listens on a lease: what it holds, each heartbeat
prolongs, and where none was saved for 15 s, it disconnects, 5 s before the supervisor could start
another. Once a heartbeat is saved again it goes on from its positions; nothing is lost.

Only where the storage is a database that several machines use. With SQLite there is one machine,
and a disk that is busy for 15 s would cost a reconnect to every server.
"""

import logging
import math
import time
from collections.abc import Callable
from threading import Event, Lock, Thread
from types import TracebackType
from typing import Self

from mastodon_pipeline.dagster_database import postgres_url

LEASE_SECONDS = 15.0
"""Three heartbeats; must be shorter than `rules.STALE_HEARTBEAT_SECONDS`."""
_CHECK_SECONDS = 0.5
_log = logging.getLogger(__name__)


def lease_seconds() -> float:
    """Return how long a run may listen after its last heartbeat; infinity where it is alone."""
    return math.inf if postgres_url() is None else LEASE_SECONDS


class Lease:
    """Calls `release` once no heartbeat has been saved for `seconds`, by the monotonic clock."""

    def __init__(self, release: Callable[[], None], seconds: float) -> None:
        self._release = release
        self._seconds = seconds
        self._lock = Lock()
        self._renewed_at = time.monotonic()
        self._expired = False
        self._ended = Event()
        # In a thread: the main thread may hang in the storage's client, for as long as TCP tries.
        self._watch = Thread(target=self._watch_until_ended, name="lease", daemon=True)

    def __enter__(self) -> Self:
        if self._seconds < math.inf:
            self._watch.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()

    def renew(self, since: float, resume: Callable[[], None]) -> None:
        """Note that a heartbeat was saved, sent at `since` (monotonic); if it had expired, resume.

        Raises what `resume` raises; then it stays expired, and the next heartbeat tries again.
        """
        with self._lock:
            self._renewed_at = since
            if self._expired:
                resume()
                self._expired = False

    def _watch_until_ended(self) -> None:
        while not self._ended.wait(_CHECK_SECONDS):
            with self._lock:
                silent_seconds = time.monotonic() - self._renewed_at
                if self._expired or silent_seconds <= self._seconds:
                    continue
                self._expired = True
                self._release()
            _log.warning(
                "no heartbeat could be saved for %.0f s: letting the servers go until one can, "
                "since another run may take over",
                silent_seconds,
            )
