"""A lock that can be closed, for what must not be in use when the process ends."""

from threading import RLock

import duckdb


class OpenLock:
    """A reentrant lock that nobody enters any more once it refuses."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._refuses = False

    def refuse(self) -> None:
        """Let nobody enter from now on: duckdb.ConnectionException is raised instead."""
        self._refuses = True

    def busy(self) -> bool:
        """Return whether another thread has it."""
        free = self._lock.acquire(blocking=False)
        if free:
            self._lock.release()
        return not free

    def __enter__(self) -> None:
        self._lock.acquire()
        if self._refuses:
            self._lock.release()
            raise duckdb.ConnectionException("the page is being stopped")

    def __exit__(self, *_: object) -> None:
        self._lock.release()
