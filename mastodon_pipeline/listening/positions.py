"""The listeners' positions, kept in a compacted Kafka topic so that they survive any machine.

Key: base URL and feed. Value: JSON with `last_id`, the id up to which the feed is acknowledged,
and `written_at`, ISO 8601 UTC. Written every few seconds; a crash in between makes the next
listener read some toots again, never fewer.
"""

import json
import time
from datetime import UTC, datetime
from typing import Protocol

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from mastodon_pipeline.listening.topics import KafkaUnreachable, unreachable
from mastodon_pipeline.settings import Server, Settings

_DEADLINE = 20.0


class PositionStore(Protocol):
    """Keeps the last safe id of each feed."""

    def read(self) -> dict[str, str]:
        """Every position, by `position_key`."""

    def write(self, key: str, last_id: str) -> None:
        """Keeps one position; it may reach the store a moment later."""

    def flush(self) -> None:
        """Waits, some seconds at most, until what was written has reached the store."""


def position_key(server: Server) -> str:
    """The key of a server's feed: ids of different feeds and servers do not compare."""
    return f"{server.base_url} {server.feed}"


class KafkaPositions:
    """A `PositionStore` on the topic `settings.positions_topic`."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    def write(self, key: str, last_id: str) -> None:
        """Produces one position; `flush` makes it sure."""
        value = {"last_id": last_id, "written_at": datetime.now(UTC).isoformat()}
        try:
            self._producer.produce(
                self._settings.positions_topic, key=key.encode(), value=json.dumps(value).encode()
            )
        except BufferError:
            return  # The next write, seconds later, says more than this one would have.

    def flush(self) -> None:
        """Waits for the broker, 5 s at most; what is not acknowledged then is read again."""
        self._producer.flush(5)

    def read(self) -> dict[str, str]:
        """Reads the whole topic, which compaction keeps small. Raises KafkaUnreachable."""
        consumer = Consumer(
            {
                **self._settings.kafka_client_config(),
                "group.id": "mastodon-listener-positions",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 2,
            }
        )
        try:
            return self._read(consumer)
        except KafkaException as error:
            raise unreachable(self._settings, error) from None
        finally:
            consumer.close()

    def _read(self, consumer: Consumer) -> dict[str, str]:
        topic = self._settings.positions_topic
        partition = TopicPartition(topic, 0)
        low, end = consumer.get_watermark_offsets(partition, timeout=_DEADLINE)
        consumer.assign([TopicPartition(topic, 0, low)])
        found: dict[str, str] = {}
        deadline = time.monotonic() + _DEADLINE
        while _place(consumer, partition, low) < end:
            if time.monotonic() > deadline:
                raise KafkaUnreachable(f"{topic} could not be read within {_DEADLINE:g} s")
            message = consumer.poll(0.5)
            if message is None or message.error():
                continue
            key, value = message.key(), message.value()
            if key and value:
                found[key.decode()] = json.loads(value)["last_id"]
        return found


def _place(consumer: Consumer, partition: TopicPartition, low: int) -> int:
    # The consumer's own place, not the last record's offset: compaction and the producer's
    # transaction markers leave offsets without records.
    place = int(consumer.position([partition])[0].offset)
    return place if place >= 0 else low
