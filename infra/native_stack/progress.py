"""What is going on, shown while it takes long: one line that changes, or a line now and then."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TextIO

QUIET_SECONDS = 10.0
"""Where the output is no terminal, one line in so many seconds."""


class Progress:
    """The state of things that go on at once, from any thread."""

    def __init__(self, say: Callable[[str], None], terminal: TextIO | None = None) -> None:
        self._say = say
        self._terminal = terminal or (sys.stderr if sys.stderr.isatty() else None)
        self._began: dict[str, tuple[float, Callable[[], str]]] = {}
        self._shown = time.monotonic()
        self._lock = Lock()

    def begins(self, name: str, state: Callable[[], str]) -> None:
        """Something begins; `state` says in a few words how far it is."""
        with self._lock:
            self._began[name] = (time.monotonic(), state)

    def ends(self, name: str, result: str) -> None:
        """Something is done: a line that stays."""
        with self._lock:
            began, _ = self._began.pop(name)
            self._erase()
            self._say(f"  {name}: done, {result}, {time.monotonic() - began:.0f} s")

    def shows(self) -> None:
        """Shows what goes on now; call it about once a second."""
        with self._lock:
            now = time.monotonic()
            line = " | ".join(
                f"{name}: {state()}, {now - began:.0f} s"
                for name, (began, state) in self._began.items()
            )
            if not line:
                return
            if self._terminal:
                self._terminal.write(f"\r\x1b[K  {line}"[:120])
                self._terminal.flush()
            elif now - self._shown >= QUIET_SECONDS:
                self._shown = now
                self._say(f"  {line}")

    def clears(self) -> None:
        """Takes the changing line away."""
        with self._lock:
            self._erase()

    def _erase(self) -> None:
        if self._terminal:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()


def megabytes(directory: Path) -> str:
    """How much is in a directory, readable: `54 MB`; files that vanish meanwhile do not count."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return f"{total / 1e6:.0f} MB"
