"""The listening stage's topics on a real broker."""

import time

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka import admin_client, ensure_topics, set_topic_config
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import read_all


def test_topics_are_created_once(settings: Settings) -> None:
    topics = listening_topics(settings)
    assert set(ensure_topics(settings, topics)) == {
        settings.kafka_topic,
        settings.dead_letter_topic,
        settings.positions_topic,
        settings.tallies_topic,
    }
    assert ensure_topics(settings, topics) == ()
    topic = admin_client(settings).list_topics(timeout=300).topics[settings.kafka_topic]
    assert len(topic.partitions) == settings.kafka_topic_partitions


def test_old_toot_is_stamped_with_its_arrival(settings: Settings) -> None:
    """Also in a topic of an older version, which dated records by post time. Shows G10."""
    ensure_topics(settings, listening_topics(settings))
    set_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    before = time.time_ns() // 1_000_000
    sink, _ = open_kafka(settings)
    record = TootRecord(uri="https://a.example/1", created_at=1_490_000_000_000)
    acknowledged: list[bool] = []
    sink.send(record, lambda: acknowledged.append(True))
    sink.close(10)
    assert acknowledged == [True]
    [message] = read_all(settings, settings.kafka_topic)
    kind, milliseconds = message.timestamp()
    assert kind == TIMESTAMP_LOG_APPEND_TIME
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_absent_broker_is_one_line_that_names_the_fix() -> None:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:9")
    with pytest.raises(KafkaUnavailable, match="make up"):
        ensure_topics(settings, listening_topics(settings), deadline_seconds=0.2)
