"""What tests of every room use: the native stack, and a lake in a local directory."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from infra.native_stack import Stack, temporary_stack
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import local_lake
from mastodon_pipeline_tests.support.signals import restore_default_signals


def pytest_configure() -> None:
    """Let tests interrupt their child processes, also under `make test &`, on a busy machine."""
    restore_default_signals()
    # Hypothesis fails an example that takes 200 ms; other processes may take that long for theirs.
    hypothesis.settings.register_profile("without deadlines", deadline=None)
    hypothesis.settings.load_profile("without deadlines")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests that use the native stack as integration tests."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """A native stack for this session, removed afterwards whether the tests passed or not."""
    with temporary_stack() as stack:
        yield stack


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake in a local directory."""
    with local_lake(tmp_path) as lake:
        yield lake
