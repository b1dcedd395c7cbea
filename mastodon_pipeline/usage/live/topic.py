"""What live views read of the topic: how far the sink is, and the records beyond."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import NamedTuple, Protocol

from mastodon_pipeline.kafka import admin_client, read, topic_id
from mastodon_pipeline.kafka_errors import kafka_errors
from mastodon_pipeline.landing.sink_progress import (
    PartitionProgress,
    open_sinks_reader,
    progress,
)
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.registry import WritersSchemas
from mastodon_pipeline.settings import Settings

_TIMEOUT_SECONDS = 10.0


class TailRecord(NamedTuple):
    """A message of the topic."""

    partition: int
    offset: int
    timestamp_ms: int
    """When Kafka took it, UTC."""
    record: TootRecord | None
    """None if it is no record of ours: it will be a dead letter, and in no table."""


class Topic(Protocol):
    """The topic, as live views read it."""

    def identity(self) -> str:
        """Return the topic's id, which a topic made again does not have; '' if there is none."""

    def progress(self) -> tuple[PartitionProgress, ...]:
        """Return the sink's place in each partition, asked for before the partition's end."""

    def read(self, ranges: Mapping[int, range], timeout_seconds: float) -> Iterator[TailRecord]:
        """Read each partition's range, in the order of its offsets."""


class KafkaTopic:
    """The settings' topic in Kafka, read without joining a group; it stays connected.

    Its methods raise KafkaUnavailable, and `read` RegistryUnavailable as well.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings, self._name = settings, settings.kafka_topic
        self._stack = ExitStack()
        self._schemas = WritersSchemas(settings)
        self._admin = admin_client(settings)
        self._consumer = self._stack.enter_context(open_sinks_reader(settings))

    def close(self) -> None:
        """Close the connections."""
        self._stack.close()

    def identity(self) -> str:
        """Return the topic's id, '' if there is none, or the broker has no ids."""
        identity = topic_id(self._settings, self._name, _TIMEOUT_SECONDS, self._admin)
        return identity or ""

    def progress(self) -> tuple[PartitionProgress, ...]:
        """Return the sink's place in each partition; none if there is no topic."""
        with kafka_errors(self._settings):
            return progress(self._consumer, self._name, _TIMEOUT_SECONDS)

    def read(self, ranges: Mapping[int, range], timeout_seconds: float) -> Iterator[TailRecord]:
        """Read each partition's range, in the order of its offsets."""
        with kafka_errors(self._settings):
            for message in read(self._consumer, self._name, ranges, timeout_seconds):
                partition, offset, value = message.partition(), message.offset(), message.value()
                assert partition is not None
                assert offset is not None
                yield TailRecord(
                    partition, offset, message.timestamp()[1], self._record(value or b"")
                )

    def _record(self, value: bytes) -> TootRecord | None:
        try:
            return decode(value, self._schemas)
        except ValueError:
            return None
