"""How far the sink has come: what Kafka holds of the topic, and what the sink has committed.

Both sinks commit their place in the topic to the consumer group `connect-<connector>`, and only
after the files that hold the records are complete in the object store: the Iceberg sink in the
Kafka transaction that announces the files to its coordinator, the S3 sink after its flush. So
the committed offset is a watermark: every offset below it is in the Parquet, unless it went to
the dead-letter topic or holds no record that can land.

See: https://iceberg.apache.org/docs/latest/kafka-connect/
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.listening.topic.topics import unreachable
from mastodon_pipeline.settings import Settings

_READERS = "mastodon-pipeline-checks"  # librdkafka wants a group, though nothing is committed
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


def sink_progress(settings: Settings, timeout_s: float = 10.0) -> tuple[PartitionProgress, ...]:
    """The topic's partitions and the sink's place in each; no partition where there is no topic.

    Committed offsets are read before the end offsets, so the lag is never negative.

    Raises KafkaUnavailable.
    """
    topic = settings.kafka_topic
    # It asks in the sink's group, and never joins it: a member would take partitions away.
    with closing(_consumer(settings, f"connect-{settings.connector_name}")) as consumer:
        try:
            found = consumer.list_topics(topic, timeout=timeout_s).topics.get(topic)
            if found is None or found.error is not None:
                return ()
            partitions = [TopicPartition(topic, number) for number in sorted(found.partitions)]
            progress = []
            for place in consumer.committed(partitions, timeout=timeout_s):
                low, end = consumer.get_watermark_offsets(place, timeout=timeout_s)
                # A partition of which nothing was committed has a negative offset.
                progress.append(PartitionProgress(place.partition, low, max(place.offset, 0), end))
        except KafkaException as error:
            raise unreachable(settings, error) from None
    return tuple(progress)


def dead_lettered(
    settings: Settings, *, last: int | None = None, timeout_s: float = 30.0
) -> frozenset[tuple[int, int]]:
    """Partition and offset of the topic's records that Connect put in the dead-letter topic.

    The listeners put records there too, which never were in the topic: those lack Connect's
    headers and are passed over. `last` looks only at that many of each partition's newest.

    Raises KafkaUnavailable where the broker is away, or too slow.
    See: https://kafka.apache.org/documentation/#connect_errorreporting
    """
    topic = settings.dead_letter_topic
    with closing(_consumer(settings, _READERS)) as consumer:
        try:
            found = consumer.list_topics(topic, timeout=timeout_s).topics.get(topic)
            if found is None or found.error is not None:
                return frozenset()
            stretches = {}
            for number in found.partitions:
                place = TopicPartition(topic, number)
                low, end = consumer.get_watermark_offsets(place, timeout=timeout_s)
                stretches[number] = (low if last is None else max(low, end - last), end)
            return frozenset(
                origin
                for message in _read(consumer, topic, stretches, timeout_s)
                if (origin := _origin(message, settings.kafka_topic)) is not None
            )
        except KafkaException as error:
            raise unreachable(settings, error) from None


def landable(
    settings: Settings, offsets: Iterable[tuple[int, int]], timeout_s: float = 30.0
) -> frozenset[tuple[int, int]]:
    """Those of these (partition, offset) at which Kafka holds a record with a value.

    Not every offset is a record that can land: transaction markers take one, and a tombstone has
    no value.

    Raises KafkaUnavailable where the broker is away, or too slow.
    """
    wanted = frozenset(offsets)
    stretches = {
        number: (min(own), max(own) + 1)
        for number in {partition for partition, _ in wanted}
        if (own := [offset for partition, offset in wanted if partition == number])
    }
    with closing(_consumer(settings, _READERS)) as consumer:
        try:
            return frozenset(
                (number, offset)
                for message in _read(consumer, settings.kafka_topic, stretches, timeout_s)
                if message.value() is not None
                and (number := message.partition()) is not None
                and (offset := message.offset()) is not None
                and (number, offset) in wanted
            )
        except KafkaException as error:
            raise unreachable(settings, error) from None


def _consumer(settings: Settings, group: str) -> Consumer:
    return Consumer(
        {
            **settings.kafka_client_config(),
            "group.id": group,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "log_level": 0,
        }
    )


def _read(
    consumer: Consumer, topic: str, stretches: dict[int, tuple[int, int]], timeout_s: float
) -> Iterator[Message]:
    """The messages of each partition's stretch [from, to); a partition ends at its end of file."""
    left = {number: end for number, (start, end) in stretches.items() if start < end}
    consumer.assign([TopicPartition(topic, number, stretches[number][0]) for number in left])
    give_up = time.monotonic() + timeout_s
    while left:
        if time.monotonic() > give_up:
            raise KafkaUnavailable(
                f"topic {topic} could not be read within {timeout_s:.0f} s; is the broker busy?"
            )
        for message in consumer.consume(num_messages=1000, timeout=0.5):
            number, offset = message.partition(), message.offset()
            problem = message.error()
            if problem is not None and problem.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(problem)
            if number not in left or number is None or offset is None:
                continue
            if problem is None and offset < left[number]:
                yield message
            if problem is not None or offset >= left[number] - 1:
                del left[number]


def _origin(message: Message, topic: str) -> tuple[int, int] | None:
    headers = message.headers() or []
    said = dict(headers.items() if isinstance(headers, dict) else headers)

    def header(name: str) -> str:
        value = said.get(_CONNECT_HEADERS + name) or b""
        return value if isinstance(value, str) else value.decode(errors="replace")

    if header("topic") != topic or not header("partition").isdecimal():
        return None
    return int(header("partition")), int(header("offset"))
