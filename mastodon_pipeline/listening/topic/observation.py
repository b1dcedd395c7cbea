"""What the topic holds at this moment: end offsets, rate, newest record."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    ListOffsetsResultInfo,
    OffsetSpec,
)

from mastodon_pipeline.listening.topic.topics import admin_client, unreachable
from mastodon_pipeline.settings import Settings


@dataclass(frozen=True, slots=True)
class TopicObservation:
    """The topic's state."""

    end_offsets: Mapping[int, int]
    """By partition: the offset the next record will get."""
    records: int
    """Held now: end offsets less what retention has removed."""
    newest_record_at: int | None
    """UTC milliseconds, the latest Kafka timestamp (post time); None for an empty topic."""
    observed_at: float
    """Seconds since 1970, UTC."""

    @property
    def end_offset(self) -> int:
        """The sum of the end offsets: every record ever written."""
        return sum(self.end_offsets.values())


def observe_topic(settings: Settings, deadline_seconds: float = 20.0) -> TopicObservation:
    """Asks the broker, `deadline_seconds` a question at most. Raises KafkaUnavailable."""
    admin = admin_client(settings)
    topic = settings.kafka_topic
    try:
        partitions = admin.list_topics(topic, timeout=deadline_seconds).topics[topic].partitions

        def ask(spec: OffsetSpec) -> dict[int, ListOffsetsResultInfo]:
            questions = {TopicPartition(topic, number): spec for number in partitions}
            answers = admin.list_offsets(questions, request_timeout=deadline_seconds)
            return {p.partition: answer.result(deadline_seconds) for p, answer in answers.items()}

        first, end, newest = (
            ask(OffsetSpec.earliest()),  # type: ignore[no-untyped-call]
            ask(OffsetSpec.latest()),  # type: ignore[no-untyped-call]
            ask(OffsetSpec.max_timestamp()),  # type: ignore[no-untyped-call]
        )
    except KafkaException as error:
        raise unreachable(settings, error) from None
    ends = {number: answer.offset for number, answer in end.items()}
    times = [answer.timestamp for answer in newest.values() if answer.timestamp > 0]
    return TopicObservation(
        end_offsets=ends,
        records=sum(ends[number] - answer.offset for number, answer in first.items()),
        newest_record_at=max(times, default=None),
        observed_at=time.time(),
    )
