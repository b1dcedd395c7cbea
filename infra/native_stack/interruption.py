"""Ctrl-C at a moment of our choosing.

A KeyboardInterrupt can arrive inside anything, a destructor for instance, where Python prints and
forgets it. While processes are being started that must not happen: the signal is noted, and raised
between two steps.
"""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

Check = Callable[[], None]
"""Raises KeyboardInterrupt where a signal has come since."""

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def deferred() -> Iterator[Check]:
    """Notes Ctrl-C, SIGTERM and a lost terminal until the yielded function is called.

    What nobody asked about is raised at the end. In a thread other than the main one signals are
    none of our business, and nothing is changed. A signal that is ignored stays so, except for
    Ctrl-C: shells ignore it on behalf of their background jobs.
    """
    came = threading.Event()

    def note(_number: int, _frame: FrameType | None) -> None:
        came.set()

    def check() -> None:
        if came.is_set():
            came.clear()
            raise KeyboardInterrupt

    former = {}
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
                former[number] = signal.signal(number, note)
    try:
        yield check
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
    check()
