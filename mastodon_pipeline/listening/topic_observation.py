"""What the topic holds at this moment: end offsets, rate, newest record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg
from confluent_kafka import Consumer, KafkaException, TopicPartition

from mastodon_pipeline.listening.topics import unreachable
from mastodon_pipeline.settings import Settings

TOPIC_ASSET = dg.AssetKey("mastodon_topic")


@dataclass(frozen=True, slots=True)
class TopicObservation:
    """The topic's state."""

    end_offsets: Mapping[int, int]
    """By partition: the offset the next record will get."""
    records: int
    """Held now: end offsets less what retention has removed."""
    newest_record_at: int | None
    """UTC milliseconds, the Kafka timestamp (post time) of the last record of any partition."""
    observed_at: float
    """Seconds since 1970, UTC."""

    @property
    def end_offset(self) -> int:
        """The sum of the end offsets: every record ever written."""
        return sum(self.end_offsets.values())


def observe_topic(settings: Settings, deadline_seconds: float = 20.0) -> TopicObservation:
    """Asks the broker, for `deadline_seconds` at most. Raises KafkaUnreachable."""
    deadline = time.monotonic() + deadline_seconds
    consumer = Consumer(
        {
            **settings.kafka_client_config(),
            "group.id": "mastodon-topic-observation",
            "enable.auto.commit": False,
            "log_level": 2,
        }
    )
    try:
        topics = consumer.list_topics(settings.kafka_topic, timeout=deadline_seconds).topics
        bounds = {
            number: consumer.get_watermark_offsets(
                TopicPartition(settings.kafka_topic, number),
                timeout=max(1.0, deadline - time.monotonic()),
            )
            for number in topics[settings.kafka_topic].partitions
        }
        return TopicObservation(
            end_offsets={number: high for number, (_, high) in bounds.items()},
            records=sum(high - low for low, high in bounds.values()),
            newest_record_at=_newest(consumer, settings.kafka_topic, bounds, deadline),
            observed_at=time.time(),
        )
    except KafkaException as error:
        raise unreachable(settings, error) from None
    finally:
        consumer.close()


def _newest(
    consumer: Consumer, topic: str, bounds: Mapping[int, tuple[int, int]], deadline: float
) -> int | None:
    last = [TopicPartition(topic, n, high - 1) for n, (low, high) in bounds.items() if high > low]
    if not last:
        return None
    consumer.assign(last)
    awaited = {partition.partition for partition in last}
    newest: int | None = None
    while awaited and time.monotonic() < deadline:
        message = consumer.poll(0.5)
        if message is None or message.error():
            continue
        awaited.discard(message.partition())
        newest = max(newest or 0, message.timestamp()[1])
    return newest
