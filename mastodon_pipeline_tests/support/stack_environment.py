"""Where a session's stack is, and what tests see of a stack.

Every process of a test session imports this, so it imports nothing that takes long.
"""

import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from infra.native_stack import Stack


def new_directory() -> Path:
    """Return the path of a session's stack, with a space and a letter that is not ASCII in it."""
    return Path(tempfile.gettempdir()) / f"mastodon stack Übung-{uuid.uuid4().hex[:8]}"


QUICK_COMMITS = {"SINK_COMMIT_SECONDS": "1"}
"""Most tests of sinks wait for its next commit."""


# Nor are a person's own servers and tokens, which every process of the tests would read.
os.environ["MASTODON_PIPELINE_SETTINGS"] = str(new_directory() / ".env")
NO_STACK = {"MASTODON_PIPELINE_DATA": str(new_directory())}
"""A directory that is not there: what `make demo` has left in the checkout is not the tests'."""


class StackEnvironment:
    """Variables of a stack in this process's environment, as long as tests use that stack."""

    def __init__(self) -> None:
        self._variables: dict[str, Mapping[str, str]] = {}
        self._current: str | None = ""  # neither a stack nor none
        self._patch = pytest.MonkeyPatch()

    def use(self, fixture: str | None) -> None:
        """Set the variables of the stack that a fixture yields, and take others out."""
        if fixture != self._current:
            self._patch.undo()
            self._current = fixture
            for name, value in self._variables.get(fixture or "", NO_STACK).items():
                self._patch.setenv(name, value)

    def add(self, fixture: str, stack: "Stack") -> None:
        """Set the variables of a stack that a fixture has just started."""
        self._variables[fixture] = {**stack.environment, **QUICK_COMMITS}
        self._current = ""
        self.use(fixture)

    def remove(self, fixture: str) -> None:
        """Take out the variables of a stack that ends."""
        del self._variables[fixture]
        self.use(None)
