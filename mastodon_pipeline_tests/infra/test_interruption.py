"""Deferred interrupts: raised between two steps, never inside one, and never lost."""

import os
import signal

import pytest

from infra.native_stack.interruption import deferred_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_is_deferred_until_it_is_checked(number: signal.Signals) -> None:
    """The step in which it arrives is completed. Under nohup SIGHUP would be ignored."""
    before = signal.signal(number, signal.default_int_handler)
    steps = []

    def two_steps() -> None:
        with deferred_interrupts() as check:
            check()
            os.kill(os.getpid(), number)
            steps.append("completed")
            check()
            steps.append("not reached")

    try:
        with pytest.raises(KeyboardInterrupt):
            two_steps()
    finally:
        signal.signal(number, before)

    assert steps == ["completed"]


def test_unchecked_signal_is_raised_at_the_end_of_the_block() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts():
        os.kill(os.getpid(), signal.SIGINT)


def test_signal_handlers_are_restored_after_deferring() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before

    assert signal.getsignal(signal.SIGINT) is before
