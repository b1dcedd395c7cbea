"""The processes of a stack, identifiable even after their process manager was killed."""

import contextlib
import os
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
    _, alive = psutil.wait_procs(processes, timeout=timeout_seconds)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(processes)


def memory_bytes(process: psutil.Process) -> int:
    """Return a process's resident memory in bytes, 0 if it has ended."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
