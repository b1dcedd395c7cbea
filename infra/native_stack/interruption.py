"""Defer Ctrl-C to safe points.

A KeyboardInterrupt can be raised anywhere, for instance inside a destructor, where Python prints
and drops it. While processes are being started that must not happen: the signal is recorded, and
raised between two steps.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Check = Callable[[], None]
"""Raises KeyboardInterrupt if a signal has arrived since."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def deferred_interrupts() -> Iterator[Check]:
    """Defer SIGINT, SIGTERM and SIGHUP until the yielded function is called, or the block ends.

    Outside the main thread, where Python delivers no signals, nothing changes. Ignored signals
    stay ignored, except SIGINT: non-interactive shells ignore it for their background jobs.
    """
    pending = threading.Event()

    def record(_number: int, _frame: FrameType | None) -> None:
        pending.set()

    def check() -> None:
        if pending.is_set():
            pending.clear()
            raise KeyboardInterrupt

    previous = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                previous[number] = signal.signal(number, record)
    try:
        yield check
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    check()
