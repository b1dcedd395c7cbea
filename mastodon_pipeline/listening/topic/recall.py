"""What former listeners wrote last, read back from the topic, so that deletes find their toots.

A delete tells nothing but the observing server's id. Most deletes come within minutes, so the end
of the topic knows most of the toots that they mean, whichever listener recorded them.
"""

import logging
import time

from confluent_kafka import Consumer, KafkaException, TopicPartition

from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.registry import WritersSchemas
from mastodon_pipeline.listening.topic.topics import bounds, unreachable
from mastodon_pipeline.settings import Settings

RECALLED = 50_000
"""Records at the end of the topic, shared among its partitions; they take some 15 MB."""
_DEADLINE = 10.0
_BATCH = 1_000
_log = logging.getLogger(__name__)


def recall(settings: Settings, records: int = RECALLED, seconds: float = _DEADLINE) -> SeenToots:
    """The toots of the topic's last `records` records, as far as `seconds` suffice.

    What is left out, or cannot be decoded, costs nothing but a delete's uri (`delete_record`).
    Raises KafkaUnavailable, RegistryUnavailable.
    """
    seen = SeenToots()
    consumer = Consumer(
        {
            **settings.kafka_client_config(),
            "group.id": "mastodon-listener-recall",  # A name only: partitions are assigned.
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "log_level": 2,
        }
    )
    try:
        _read(consumer, settings, seen, records, time.monotonic() + seconds)
    except KafkaException as error:
        raise unreachable(settings, error) from None
    finally:
        consumer.close()
    return seen


def _read(
    consumer: Consumer, settings: Settings, seen: SeenToots, records: int, deadline: float
) -> None:
    topic = settings.kafka_topic
    partitions = consumer.list_topics(topic, timeout=_DEADLINE).topics[topic].partitions
    ends: dict[int, int] = {}
    starts: list[TopicPartition] = []
    for number in partitions:
        low, end = bounds(consumer, TopicPartition(topic, number), _DEADLINE)
        first = max(low, end - records // len(partitions))
        if first < end:
            ends[number] = end
            starts.append(TopicPartition(topic, number, first))
    if not starts:
        return
    writers_schemas = WritersSchemas(settings)
    consumer.assign(starts)
    while any(place.offset < ends[place.partition] for place in consumer.position(starts)):
        if time.monotonic() > deadline:
            _log.info("the topic's end was recalled in part: it takes longer than it may")
            return
        for message in consumer.consume(_BATCH, timeout=0.5):
            try:
                record = decode(message.value() or b"", writers_schemas)
            except ValueError:
                continue  # Whoever wrote it: it names no toot that we could know.
            if record.event != "delete":
                seen.recall(record)
