"""Signals as an interactive shell hands them to a process."""

import signal


def restore_default_signals() -> None:
    """Undo that a non-interactive shell lets its background jobs ignore SIGINT and SIGQUIT.

    Child processes inherit what is ignored: without this, tests that interrupt one would hang
    under `make test &`.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)
