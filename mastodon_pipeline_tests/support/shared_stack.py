"""One native stack for all workers of a test session."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from infra.native_stack import Ports, Stack, StackError
from infra.native_stack.cache import locked


def shared_stack(data: Path) -> Stack:
    """Return the session's stack, started by the first worker that asks for it."""
    with locked(_lock(data), lambda: None, lambda: None):
        if not Stack(data).supervisor.running():
            _start(data)
    return Stack(data, say=_print)


def remove_shared_stack(data: Path) -> None:
    """Stop the session's stack, if a test used it, and delete its data."""
    if data.exists():
        Stack(data, say=_print).down()
        shutil.rmtree(data)
    _lock(data).unlink(missing_ok=True)


def _start(data: Path) -> None:
    """Start a stack by a command, since it outlives the worker that starts it."""
    ports = {name: str(port) for name, port in Ports.free().variables()}
    up = subprocess.run(
        [sys.executable, "-m", "infra.native_stack", "up"],
        env={**os.environ, **ports, "MASTODON_PIPELINE_DATA": str(data)},
        capture_output=True,
        text=True,
    )
    if up.returncode:
        raise StackError(up.stdout + up.stderr)


def _lock(data: Path) -> Path:
    return data.with_name(f"{data.name}.lock")


def _print(line: str) -> None:
    print(line, file=sys.stderr)
