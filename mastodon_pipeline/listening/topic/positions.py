"""The listeners' positions, kept in a compacted Kafka topic so that they survive any machine.

Key: base URL and feed. Value: JSON with `last_id`, the id up to which the feed is acknowledged,
`unfilled_gaps`, what is missing before it, `discovered`, what the server said of itself, and
`written_at`, ISO 8601 UTC. Written every few seconds where something has changed; a crash in
between makes the next listener read some toots again, never fewer.
"""

import time
from datetime import UTC, datetime

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.topic.topics import bounds, unreachable
from mastodon_pipeline.settings import Settings

_DEADLINE = 20.0


class _Value(SavedPosition, frozen=True, kw_only=True):
    written_at: str


class KafkaPositions:
    """A `PositionStore` on the topic `settings.positions_topic`."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    def write(self, key: str, position: SavedPosition) -> None:
        """Produces one position; `flush` makes it sure."""
        value = msgspec.json.encode(
            _Value(
                last_id=position.last_id,
                unfilled_gaps=position.unfilled_gaps,
                discovered=position.discovered,
                written_at=datetime.now(UTC).isoformat(),
            )
        )
        try:
            self._producer.produce(self._settings.positions_topic, key=key.encode(), value=value)
        except BufferError:
            return  # The next write, seconds later, says more than this one would have.

    def flush(self) -> None:
        """Waits for the broker, 5 s at most; what is not acknowledged then is read again."""
        self._producer.flush(5)

    def read(self) -> dict[str, SavedPosition]:
        """Reads the whole topic, which compaction keeps small. Raises KafkaUnavailable."""
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

    def _read(self, consumer: Consumer) -> dict[str, SavedPosition]:
        topic = self._settings.positions_topic
        partition = TopicPartition(topic, 0)
        low, end = bounds(consumer, partition, _DEADLINE)
        consumer.assign([TopicPartition(topic, 0, low)])
        found: dict[str, SavedPosition] = {}
        deadline = time.monotonic() + _DEADLINE
        while _place(consumer, partition, low) < end:
            if time.monotonic() > deadline:
                raise KafkaUnavailable(f"{topic} could not be read within {_DEADLINE:g} s")
            message = consumer.poll(0.5)
            if message is None or message.error():
                continue
            key, value = message.key(), message.value()
            if key and value:
                found[key.decode()] = decode_position(value)
        return found


def decode_position(value: bytes) -> SavedPosition:
    """The position in a record's value, whichever version of the listener wrote it."""
    return msgspec.json.decode(value, type=SavedPosition)


def _place(consumer: Consumer, partition: TopicPartition, low: int) -> int:
    # The consumer's own place, not the last record's offset: compaction and the producer's
    # transaction markers leave offsets without records.
    place = int(consumer.position([partition])[0].offset)
    return place if place >= 0 else low
