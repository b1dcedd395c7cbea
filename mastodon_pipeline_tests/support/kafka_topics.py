"""Topics for one test alone, and what they hold."""

import uuid
from collections import Counter

import pytest
from confluent_kafka import Message

from mastodon_pipeline.kafka import offsets, open_consumer, read
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.settings import Settings


def with_new_topics(monkeypatch: pytest.MonkeyPatch, prefix: str) -> Settings:
    """Return settings, for child processes too, whose topics no other test uses."""
    monkeypatch.setenv("KAFKA_TOPIC", f"{prefix}-{uuid.uuid4().hex[:8]}")
    return Settings()


def read_all(settings: Settings, topic: str) -> list[Message]:
    """Return every message that is in the topic now."""
    with open_consumer(settings) as consumer:
        return list(read(consumer, topic, offsets(consumer, topic, 10), 20))


def new_toots(settings: Settings) -> Counter[str]:
    """Count by uri the records of new toots in the topic."""
    messages = read_all(settings, settings.kafka_topic)
    records = [decode(message.value() or b"") for message in messages]
    return Counter(record.uri for record in records if record.event == "update")
