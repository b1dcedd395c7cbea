"""What all tests share: the native stack, for those that need it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.native_stack import Ports, Stack


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the native stack is an integration test, marked or not."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A whole native stack of this session's own, without Dagster, and the environment set to it.

    It has free ports and a temporary data directory, so a demo on the default ports is not
    disturbed. Both are gone afterwards, whether the tests passed, failed or were interrupted.
    """
    data = Path(tempfile.mkdtemp(prefix="mastodon-stack-"))
    former = dict(os.environ)
    stack = Stack(data=data, ports=Ports.free())
    try:
        stack.up()
        os.environ.update(stack.environment)
        yield stack
    finally:
        os.environ.clear()
        os.environ.update(former)
        stack.down()
        shutil.rmtree(data)
