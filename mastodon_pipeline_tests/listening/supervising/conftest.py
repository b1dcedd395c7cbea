"""A real Dagster instance for each test of the supervisor."""

from collections.abc import Iterator

import dagster as dg
import pytest


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """SQLite, in memory."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance
