"""What all tests share: the native stack, for those that need it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.native_stack import Stack, temporary_stack
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import local_lake


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for the native stack is an integration test, marked or not."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.integration)


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """This session's own native stack, gone afterwards whether the tests passed or not."""
    with temporary_stack() as stack:
        yield stack


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake in a local directory."""
    with local_lake(tmp_path) as opened:
        yield opened
