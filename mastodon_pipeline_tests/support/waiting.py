"""Wait for a condition that another thread or process brings about."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_SHORTEST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 1.0
_PAUSE_PER_EVALUATION = 9.0
"""Evaluations take a tenth of the time at most, up to the longest pause."""


def wait_until(
    condition: Callable[[], T],
    message: str | Callable[[], str],
    timeout_seconds: float = 1200.0,
    poll_seconds: float | None = None,
) -> T:
    """Poll `condition` every `poll_seconds` and return its first truthy value.

    Without `poll_seconds` it is polled ten times a second, or less often if it takes long, as it
    opens a client of Kafka or reads a table: what it waits for needs the processor as well.

    Fails the test with `message` once `timeout_seconds` have passed; a callable message is
    called then, so that it can describe the last state.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        began = time.monotonic()
        if value := condition():
            return value
        ended = time.monotonic()
        if ended >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {timeout_seconds:g} s: {text}")
        if poll_seconds is None:
            pause = (ended - began) * _PAUSE_PER_EVALUATION
            time.sleep(min(max(pause, _SHORTEST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS))
        else:
            time.sleep(poll_seconds)
