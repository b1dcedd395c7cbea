"""Which dead letters are kept: each bad toot once, and no more than the dead letters hold.

A server can send bad toots as fast as its line is, and a polled one lists the same bad toot with
each page. So letters are limited per server and altogether, in bytes an hour, and the latest are
remembered.
"""

import time
from collections.abc import Callable
from hashlib import blake2b
from typing import Literal

from mastodon_pipeline.listening.protocol.statuses import status_id_of

MAX_DEAD_LETTER_BYTES = 64 * 1024
"""A dead letter's payload beyond this is cut; the header `payload_bytes` has its true size."""
BYTES_PER_SERVER = 2 * 1024**2
"""What a server's dead letters may take at once, and again within an hour."""
BYTES_IN_ALL = 32 * 1024**2
"""What those of all servers of a listener may take at once, and again within an hour."""
REMEMBERED = 8192
"""Bad toots that are remembered, at least half of them at any time."""
_HEADER_BYTES = 1024
_REFILL_SECONDS = 3600.0
Admission = Literal["keep", "known", "too many"]


class DeadLetterLimits:
    """Decides for each dead letter of a listener. For one thread, the listener's event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._latest: set[bytes] = set()
        self._earlier: set[bytes] = set()
        self._all = _Allowance(BYTES_IN_ALL, clock())
        self._servers: dict[str, _Allowance] = {}

    def admit(self, base_url: str, event: str, payload: bytes) -> Admission:
        """Decide whether to keep a letter; a kept one counts and is remembered.

        `known`: this toot's letter was kept lately, and only its counts may differ.
        """
        identity = status_id_of(payload).encode("utf-8", "replace") or payload
        key = blake2b(b"\0".join((base_url.encode(), event.encode("utf-8", "replace"), identity)))
        digest = key.digest()[:16]
        if digest in self._latest or digest in self._earlier:
            return "known"
        size = min(len(payload), MAX_DEAD_LETTER_BYTES) + _HEADER_BYTES
        now = self._clock()
        server = self._servers.setdefault(base_url, _Allowance(BYTES_PER_SERVER, now))
        if not (server.has(size, now) and self._all.has(size, now)):
            return "too many"
        server.take(size)
        self._all.take(size)
        if len(self._latest) >= REMEMBERED // 2:
            self._earlier, self._latest = self._latest, set()
        self._latest.add(digest)
        return "keep"


class _Allowance:
    """Bytes that may be taken: `limit` at once, and as many again within an hour."""

    __slots__ = ("_at", "_left", "_limit")

    def __init__(self, limit: int, now: float) -> None:
        self._limit = limit
        self._left = float(limit)
        self._at = now

    def has(self, size: int, now: float) -> bool:
        refilled = self._left + (now - self._at) * self._limit / _REFILL_SECONDS
        self._left, self._at = min(refilled, float(self._limit)), now
        return self._left >= size

    def take(self, size: int) -> None:
        self._left -= size
