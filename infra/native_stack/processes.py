"""The processes that a stack started, found again even when their keeper was killed."""

import contextlib
import os
from pathlib import Path

import psutil

MARKER = "MASTODON_PIPELINE_STACK"
"""The environment variable, holding its data directory, by which a stack knows its processes."""


def marked_processes(data: Path) -> list[psutil.Process]:
    """The processes that the stack of this data directory started, supervisord included."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARKER) == str(data) and process.pid != os.getpid():
                found.append(process)
    return found


def stack_of(process: psutil.Process) -> str | None:
    """The data directory of the stack that a process belongs to, or None."""
    with contextlib.suppress(psutil.Error, OSError):
        return process.environ().get(MARKER)
    return None


def end_processes(data: Path, patience: float) -> int:
    """Ends what a killed supervisord left behind; returns how many there were.

    They get SIGTERM, and `patience` seconds later SIGKILL.
    """
    left = marked_processes(data)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, alive = psutil.wait_procs(left, timeout=patience)
    for process in alive:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(alive, timeout=5)
    return len(left)


def memory_bytes(process: psutil.Process) -> int:
    """A process's resident memory; 0 where it is gone."""
    with contextlib.suppress(psutil.Error):
        return int(process.memory_info().rss)
    return 0
