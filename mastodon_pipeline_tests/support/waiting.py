"""Wait for a condition that another thread or process brings about."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T],
    message: str | Callable[[], str],
    timeout_seconds: float = 1200.0,
    poll_seconds: float = 0.1,
) -> T:
    """Poll `condition` every `poll_seconds` and return its first truthy value.

    Fails the test with `message` once `timeout_seconds` have passed; a callable message is
    called then, so that it can describe the last state.
    """
    deadline = time.monotonic() + timeout_seconds
    while not (value := condition()):
        if time.monotonic() >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {timeout_seconds:g} s: {text}")
        time.sleep(poll_seconds)
    return value
