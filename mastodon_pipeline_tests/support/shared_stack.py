"""One native stack for all workers of a test session; and what its tests see of it."""

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.native_stack import Ports, Stack, StackError
from infra.native_stack.cache import locked


def new_directory() -> Path:
    """Return the path of a session's stack, with a space and a letter that is not ASCII in it."""
    return Path(tempfile.gettempdir()) / f"mastodon stack Übung-{uuid.uuid4().hex[:8]}"


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


QUICK_COMMITS = {"SINK_COMMIT_SECONDS": "1"}
"""Most tests of sinks wait for its next commit."""


class StackEnvironment:
    """Variables of a stack in this process's environment, as long as tests use that stack."""

    def __init__(self) -> None:
        self._variables: dict[str, Mapping[str, str]] = {}
        self._current: str | None = None
        self._patch = pytest.MonkeyPatch()

    def use(self, fixture: str | None) -> None:
        """Set the variables of the stack that a fixture yields, and take others out."""
        if fixture != self._current:
            self._patch.undo()
            self._current = fixture
            for name, value in self._variables.get(fixture or "", {}).items():
                self._patch.setenv(name, value)

    def add(self, fixture: str, stack: Stack) -> None:
        """Set the variables of a stack that a fixture has just started."""
        self._variables[fixture] = {**stack.environment, **QUICK_COMMITS}
        self._current = None
        self.use(fixture)

    def remove(self, fixture: str) -> None:
        """Take out the variables of a stack that ends."""
        del self._variables[fixture]
        self.use(None)


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
