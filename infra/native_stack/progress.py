"""Progress of slow work: a line that is rewritten on a terminal, else one line every 10 s."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import TextIO

QUIET_SECONDS = 10.0
"""The interval between two lines if the output is not a terminal."""


class Progress:
    """Shows the state of concurrent tasks; safe to call from any thread."""

    def __init__(self, say: Callable[[str], None], terminal: TextIO | None = None) -> None:
        self._say = say
        self._terminal = terminal or (sys.stderr if sys.stderr.isatty() else None)
        self._tasks: dict[str, tuple[float, Callable[[], str]]] = {}
        self._shown = time.monotonic()
        self._lock = Lock()

    def begin(self, name: str, state: Callable[[], str]) -> None:
        """Add a task; `state` describes in a few words how far it is."""
        with self._lock:
            self._tasks[name] = (time.monotonic(), state)

    def end(self, name: str, result: str) -> None:
        """Remove a task and print its result on a line that stays."""
        with self._lock:
            began, _ = self._tasks.pop(name)
            self._print(f"{name}: done, {result}, {time.monotonic() - began:.0f} s")

    def show(self) -> None:
        """Show the tasks' states; call it about once a second."""
        with self._lock:
            now = time.monotonic()
            states = [
                f"{name}: {state()}, {now - began:.0f} s"
                for name, (began, state) in self._tasks.items()
            ]
            if states:
                self._update(" | ".join(states))

    def clear(self) -> None:
        """Erase the line that is rewritten."""
        with self._lock:
            self._erase()

    def wait_for(self, observe: Callable[[], tuple[bool, str]], timeout_seconds: float) -> bool:
        """Call `observe` twice a second until it is done or late; return whether it was done.

        `observe` returns whether the wait is over, and a few words on how far it is.
        """
        began = time.monotonic()
        while True:
            done, state = observe()
            seconds = time.monotonic() - began
            with self._lock:
                if done or seconds > timeout_seconds:
                    self._print(f"{state} ({seconds:.0f} s)")
                    return done
                self._update(f"{state} ({seconds:.0f} s)")
            time.sleep(0.5)

    def _update(self, line: str) -> None:
        if self._terminal:
            self._terminal.write(f"\r\x1b[K  {line}"[:120])
            self._terminal.flush()
        elif time.monotonic() - self._shown >= QUIET_SECONDS:
            self._shown = time.monotonic()
            self._say(f"  {line}")

    def _print(self, line: str) -> None:
        self._erase()
        self._say(f"  {line}")

    def _erase(self) -> None:
        if self._terminal:
            self._terminal.write("\r\x1b[K")
            self._terminal.flush()


def megabytes(directory: Path) -> str:
    """Return the size of a directory as `54 MB`; files that vanish meanwhile do not count."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return f"{total / 1e6:.0f} MB"
