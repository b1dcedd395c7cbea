"""Topics of its own for each test that needs Kafka."""

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import with_new_topics


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "listening")
