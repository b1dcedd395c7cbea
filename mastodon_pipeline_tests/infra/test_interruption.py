"""Ctrl-C between two steps, never inside one, and never lost."""

import os
import signal

import pytest

from infra.native_stack.interruption import deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised_when_it_is_asked_for(number: signal.Signals) -> None:
    """Not before: the step in between is done whole."""
    steps = []

    def two_steps() -> None:
        with deferred() as check:
            check()
            os.kill(os.getpid(), number)
            steps.append("done whole")
            check()
            steps.append("not begun")

    with pytest.raises(KeyboardInterrupt):
        two_steps()

    assert steps == ["done whole"]


def test_a_signal_that_nobody_asked_about_is_raised_at_the_end() -> None:
    """It is late, but it is not lost."""
    with pytest.raises(KeyboardInterrupt), deferred():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_former_handlers_are_back_afterwards() -> None:
    """Whoever called us has their own way with signals."""
    before = signal.getsignal(signal.SIGINT)
    with deferred():
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before
