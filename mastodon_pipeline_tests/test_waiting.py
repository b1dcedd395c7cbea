"""`wait_until`, which the other tests rely on to fail."""

import time

import pytest

from mastodon_pipeline_tests.support.waiting import wait_until


def test_wait_until_returns_the_first_truthy_value() -> None:
    values = iter([None, 0, "ready"])
    assert wait_until(lambda: next(values), "never asked") == "ready"


def test_wait_until_fails_with_its_message_after_the_timeout() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.2 s: still empty"):
        wait_until(list, lambda: "still empty", timeout_seconds=0.2)


def test_condition_that_takes_long_is_polled_less_often() -> None:
    """Nine times as long as it takes lies between two evaluations."""
    times: list[float] = []

    def slow() -> bool:
        times.append(time.monotonic())
        time.sleep(0.02)
        return len(times) == 2

    wait_until(slow, "never")
    assert times[1] - times[0] > 10 * 0.02
