"""The listening stage's topics on a real broker."""

import time
from contextlib import suppress

import pytest
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

from mastodon_pipeline.cli.kafka_checks import check_kafka
from mastodon_pipeline.cli.machine_checks import Unhealthy, Waiting
from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka import admin_client, ensure_topics
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import apply_topic_config, read_all
from mastodon_pipeline_tests.support.waiting import wait_until


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


def test_topic_has_as_many_replicas_as_wanted(settings: Settings) -> None:
    """More than there are brokers is one line that names the setting."""
    wanted = {"kafka_topic_replication_factor": 1, "kafka_topic_min_insync_replicas": 1}
    single = settings.model_copy(update=wanted)
    ensure_topics(single, listening_topics(single))

    def doctor() -> str:
        with suppress(Waiting, Unhealthy):  # for a moment after its creation
            return check_kafka(single)
        return ""

    partitions = single.kafka_topic_partitions
    line = wait_until(doctor, "a healthy topic")
    assert line == f"{single.kafka_topic} has {partitions} partitions"
    two = settings.model_copy(
        update={"kafka_topic": f"{settings.kafka_topic}-two", "kafka_topic_replication_factor": 2}
    )
    with pytest.raises(KafkaUnavailable, match="KAFKA_TOPIC_REPLICATION_FACTOR"):
        ensure_topics(two, listening_topics(two))


def test_old_toot_is_stamped_with_its_arrival(settings: Settings) -> None:
    """Also in a topic of an older version, which dated records by post time. Shows G10."""
    ensure_topics(settings, listening_topics(settings))
    apply_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    before = time.time_ns() // 1_000_000
    record = TootRecord(uri="https://a.example/1", created_at=1_490_000_000_000)

    def arrival() -> int | None:
        # A broker confirms a change of its settings a moment before it applies it.
        sink, _ = open_kafka(settings)
        acknowledged: list[bool] = []
        sink.send(record, lambda: acknowledged.append(True))
        sink.close(300)
        assert acknowledged == [True]
        kind, milliseconds = read_all(settings, settings.kafka_topic)[-1].timestamp()
        return milliseconds if kind == TIMESTAMP_LOG_APPEND_TIME else None

    milliseconds = wait_until(arrival, "a record that is dated by its arrival")
    assert milliseconds is not None
    assert before <= milliseconds <= time.time_ns() // 1_000_000


def test_absent_broker_is_one_line_that_names_the_fix() -> None:
    settings = Settings(kafka_bootstrap_servers="127.0.0.1:9")
    with pytest.raises(KafkaUnavailable, match="make up"):
        ensure_topics(settings, listening_topics(settings), deadline_seconds=0.2)
