"""Topics for one test alone, and what they hold."""

import uuid
from collections import Counter
from collections.abc import Mapping

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    ConfigResource,
    ResourceType,
)

from mastodon_pipeline.kafka import admin_client, offsets, open_consumer, read, set_topic_config
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.waiting import wait_until


def with_new_topics(monkeypatch: pytest.MonkeyPatch, prefix: str) -> Settings:
    """Return settings, for child processes too, whose topics no other test uses."""
    monkeypatch.setenv("KAFKA_TOPIC", f"{prefix}-{uuid.uuid4().hex[:8]}")
    return Settings()


def apply_topic_config(settings: Settings, topic: str, config: Mapping[str, str]) -> None:
    """Give a topic these settings, and wait until the broker shows them.

    It confirms a change a moment before it applies it, which on a busy machine may be long.
    """
    admin = admin_client(settings)
    resource = ConfigResource(ResourceType.TOPIC, topic)

    def is_applied() -> bool:
        [future] = admin.describe_configs([resource]).values()
        shown = future.result(300)
        return all(shown[name].value == value for name, value in config.items())

    assert set_topic_config(settings, topic, config)
    wait_until(is_applied, f"{topic} has {config}")


def read_all(settings: Settings, topic: str) -> list[Message]:
    """Return every message that is in the topic now."""
    with open_consumer(settings) as consumer:
        return list(read(consumer, topic, offsets(consumer, topic, 10), 20))


def new_toots(settings: Settings) -> Counter[str]:
    """Count by uri the records of new toots in the topic.

    An edit may come before its toot, of which it is the record then, and the only one.
    """
    messages = read_all(settings, settings.kafka_topic)
    records = [decode(message.value() or b"") for message in messages]
    counts = Counter(record.uri for record in records if record.event == "update")
    edited = {record.uri for record in records if record.event == "status.update"}
    return counts + Counter(edited - counts.keys())
