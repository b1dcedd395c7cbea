"""What the topic holds at this moment: end offsets, rate, newest record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from confluent_kafka import TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    ListOffsetsResultInfo,
    OffsetSpec,
)

from mastodon_pipeline.kafka import admin_client, once_ready
from mastodon_pipeline.kafka_errors import kafka_errors
from mastodon_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class TopicObservation:
    """The topic's state."""

    end_offsets: Mapping[int, int]
    """By partition: the offset the next record will get."""
    records: int
    """Held now: end offsets less what retention has removed."""
    newest_record_at: int | None
    """UTC milliseconds, the latest Kafka timestamp (arrival); None for an empty topic."""
    observed_at: float
    """Seconds since 1970, UTC."""

    @property
    def end_offset(self) -> int:
        """The sum of the end offsets: every record ever written."""
        return sum(self.end_offsets.values())


def observe_topic(settings: Settings, deadline_seconds: float = 20.0) -> TopicObservation:
    """Ask the broker, `deadline_seconds` a request at most. Raises KafkaUnavailable."""
    admin = admin_client(settings)
    topic = settings.kafka_topic
    with kafka_errors(settings):
        partitions = admin.list_topics(topic, timeout=deadline_seconds).topics[topic].partitions

        def ask(spec: OffsetSpec) -> dict[int, ListOffsetsResultInfo]:
            request = {TopicPartition(topic, number): spec for number in partitions}
            futures = admin.list_offsets(request, request_timeout=deadline_seconds)
            return {p.partition: future.result(deadline_seconds) for p, future in futures.items()}

        specs = (
            OffsetSpec.earliest(),  # type: ignore[no-untyped-call]
            OffsetSpec.latest(),  # type: ignore[no-untyped-call]
            OffsetSpec.max_timestamp(),  # type: ignore[no-untyped-call]
        )
        first, end, newest = (once_ready(partial(ask, spec), deadline_seconds) for spec in specs)
    ends = {number: info.offset for number, info in end.items()}
    times = [info.timestamp for info in newest.values() if info.timestamp > 0]
    return TopicObservation(
        end_offsets=ends,
        records=sum(ends[number] - info.offset for number, info in first.items()),
        newest_record_at=max(times, default=None),
        observed_at=time.time(),
    )
