"""How far the sink has come: what Kafka holds of the topic, and what the sink has committed.

Both sinks commit their place in the topic to the consumer group `connect-<connector>`, and only
after the files that hold the records are complete in the object store: the Iceberg sink in the
Kafka transaction that announces the files to its coordinator, the S3 sink after its flush. So
the committed offset is a watermark: every offset below it is in the Parquet, unless it went to
the dead-letter topic or holds no record that can land.

See: https://iceberg.apache.org/docs/latest/kafka-connect/
"""

from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from confluent_kafka import Consumer, Message

from mastodon_pipeline.kafka import committed, offsets, open_consumer, partitions, read
from mastodon_pipeline.settings import Settings

Place = tuple[int, int]
"""A record's partition and offset in the topic."""
_CONNECT_HEADERS = "__connect.errors."


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """One partition of the topic: offsets as Kafka counts them, each the next one to come."""

    partition: int
    low: int
    """The oldest offset that Kafka still holds."""
    committed: int
    """Every offset below this one was landed, dead-lettered or skipped by the sink."""
    end: int

    @property
    def lag(self) -> int:
        """Offsets that the sink has not committed yet."""
        return max(0, self.end - max(self.committed, self.low))


def sink_progress(
    settings: Settings, timeout_seconds: float = 10.0
) -> tuple[PartitionProgress, ...]:
    """Return the sink's place in each partition of the topic; none if there is no topic.

    Committed offsets are read before the end offsets, so the lag is never negative.
    Raises KafkaUnavailable.
    """
    with open_sinks_reader(settings) as consumer:
        return progress(consumer, settings.kafka_topic, timeout_seconds)


def open_sinks_reader(settings: Settings) -> AbstractContextManager[Consumer]:
    """Open a consumer that asks in the sink's group, and never joins it.

    A member would take partitions away.
    """
    return open_consumer(settings, group=f"connect-{settings.connector_name}")


def progress(
    consumer: Consumer, topic: str, timeout_seconds: float
) -> tuple[PartitionProgress, ...]:
    """Return what `sink_progress` does, by a reader of the sink's. Raises KafkaException."""
    numbers = partitions(consumer, topic, timeout_seconds)
    if not numbers:
        return ()
    places = committed(consumer, topic, numbers, timeout_seconds)
    held = offsets(consumer, topic, timeout_seconds)
    return tuple(
        PartitionProgress(
            number,
            held[number].start,
            # Negative if nothing was committed yet. Beyond the end, it is the place in an earlier
            # topic of this name: the sink will read this one from its start.
            place if 0 <= place <= held[number].stop else 0,
            held[number].stop,
        )
        for number, place in places.items()
    )


def dead_lettered(
    settings: Settings, *, last: int | None = None, timeout_seconds: float = 30.0
) -> frozenset[Place]:
    """Return partition and offset of the topic's records that Connect put in the dead letters.

    The listeners put records there too, which never were in the topic: those lack Connect's
    headers and are passed over. `last` reads only that many of each partition's newest.
    Raises KafkaUnavailable, also if reading takes longer than `timeout_seconds`.
    See: https://kafka.apache.org/documentation/#connect_errorreporting
    """
    topic = settings.dead_letter_topic
    with open_consumer(settings) as consumer:
        if not partitions(consumer, topic, timeout_seconds):
            return frozenset()
        ranges = {
            number: held if last is None else held[-last:]
            for number, held in offsets(consumer, topic, timeout_seconds).items()
        }
        return frozenset(
            place
            for message in read(consumer, topic, ranges, timeout_seconds)
            if (place := origin(message, settings.kafka_topic)) is not None
        )


def landable(
    settings: Settings, suspects: Iterable[tuple[int, int]], timeout_seconds: float = 30.0
) -> frozenset[tuple[int, int]]:
    """Return those of the suspects, (partition, offset), that are records with a value in Kafka.

    Not every offset is a record that can land: transaction markers take one, and a tombstone has
    no value. Raises KafkaUnavailable, also if reading takes longer than `timeout_seconds`.
    """
    wanted = frozenset(suspects)
    by_partition: dict[int, list[int]] = {}
    for partition, suspect in wanted:
        by_partition.setdefault(partition, []).append(suspect)
    ranges = {number: range(min(own), max(own) + 1) for number, own in by_partition.items()}
    with open_consumer(settings) as consumer:
        return frozenset(
            place
            for message in read(consumer, settings.kafka_topic, ranges, timeout_seconds)
            if message.value() is not None
            and (number := message.partition()) is not None
            and (offset := message.offset()) is not None
            and (place := (number, offset)) in wanted
        )


def origin(message: Message, topic: str) -> Place | None:
    """Return the place of the topic's record that Connect made this dead letter of.

    None if it is no letter of Connect's, or of another topic's record.
    """
    headers = header_values(message)
    partition, offset = connect_header(headers, "partition"), connect_header(headers, "offset")
    if connect_header(headers, "topic") != topic or not partition.isdecimal():
        return None
    return int(partition), int(offset)


def header_values(message: Message) -> dict[str, str]:
    """Return a message's headers as text; of a repeated name the last."""
    headers = message.headers() or []
    pairs = headers.items() if isinstance(headers, dict) else headers
    return {
        name: value if isinstance(value, str) else (value or b"").decode(errors="replace")
        for name, value in pairs
    }


def connect_header(headers: dict[str, str], name: str) -> str:
    """Return what Connect says in one of its headers about errors, '' if nothing."""
    return headers.get(_CONNECT_HEADERS + name, "")
