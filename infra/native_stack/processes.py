"""The processes of a stack, identifiable even after their process manager was killed."""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

MARKER = "MASTODON_PIPELINE_STACK"
"""The environment variable that marks a stack's processes; its value is the data directory."""


def marked_processes(data: Path) -> list[psutil.Process]:
    """List the processes of the stack of this data directory, supervisord included."""
    processes = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(data) and process.pid != os.getpid():
                processes.append(process)
    return processes


def stack_of(process: psutil.Process) -> str | None:
    """Return the data directory of the stack that a process belongs to, or None."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARKER)
    return None


def end_processes(data: Path, timeout_seconds: float) -> int:
    """End the processes that a killed supervisord left behind; return their number.

    They get SIGTERM, and SIGKILL after `timeout_seconds`.
    """
    processes = marked_processes(data)
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    alive = wait_until_ended(processes, timeout_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    wait_until_ended(alive, 5)
    return len(processes)


def wait_until_ended(
    processes: Iterable[psutil.Process], timeout_seconds: float
) -> list[psutil.Process]:
    """Wait until the processes have ended; return those that still run after the timeout."""
    deadline = time.monotonic() + timeout_seconds
    while alive := [process for process in processes if not has_ended(process)]:
        if time.monotonic() > deadline:
            break
        psutil.wait_procs(alive, timeout=0.1)
    return alive


def has_ended(process: psutil.Process) -> bool:
    """Return whether a process has ended, reaped or not.

    Where PID 1 is no init, as in most containers, orphans stay zombies, which psutil calls running.
    """
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def memory_bytes(process: psutil.Process) -> int:
    """Return a process's resident memory in bytes, 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
