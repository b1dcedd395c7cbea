"""`wait_until`, which the other tests rely on to fail."""

import pytest

from mastodon_pipeline_tests.support.waiting import wait_until


def test_wait_until_returns_the_first_truthy_value() -> None:
    values = iter([None, 0, "ready"])
    assert wait_until(lambda: next(values), "never asked") == "ready"


def test_wait_until_fails_with_its_message_after_the_timeout() -> None:
    with pytest.raises(AssertionError, match=r"not within 0.2 s: still empty"):
        wait_until(list, lambda: "still empty", timeout_seconds=0.2)
