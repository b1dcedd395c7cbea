"""What the usage stage's tests share."""

from collections.abc import Iterator

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.bucket import temporary_bucket


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """A separate Dagster instance, without a daemon."""
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def bucket(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings for a bucket of this test, which is deleted afterwards."""
    with temporary_bucket("usage", monkeypatch) as settings:
        yield settings
