"""What the usage stage's tests share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.usage.lake import Lake
from mastodon_pipeline_tests.usage.local_lake import local_lake


@pytest.fixture
def lake(tmp_path: Path) -> Iterator[Lake]:
    """An empty lake in a local directory."""
    with local_lake(tmp_path) as opened:
        yield opened


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster of its own, without a daemon."""
    with dg.DagsterInstance.ephemeral() as own:
        yield own
