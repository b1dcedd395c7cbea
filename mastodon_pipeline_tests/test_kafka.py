"""Offsets and messages as `kafka.py` reads them, from a consumer that answers as a broker does."""

from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import cast

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka import (
    await_leaders,
    committed,
    new_topic,
    offsets,
    partitions,
    read,
)
from mastodon_pipeline.kafka_errors import kafka_errors
from mastodon_pipeline.settings import Settings

LEADERLESS = KafkaError(KafkaError.NOT_LEADER_FOR_PARTITION)
EOF = KafkaError(KafkaError._PARTITION_EOF)


@dataclass
class FakeMessage:
    """A message, or an event in its place."""

    at: int
    in_partition: int = 0
    failure: KafkaError | None = None

    def error(self) -> KafkaError | None:
        return self.failure

    def partition(self) -> int:
        return self.in_partition

    def offset(self) -> int:
        return self.at


@dataclass
class FakeMetadata:
    """What a broker lists of a topic."""

    topics: dict[str, "FakeMetadata"] = field(default_factory=dict)
    partitions: dict[int, object] = field(default_factory=dict)
    error: KafkaError | None = None


class FakeConsumer:
    """The part of a consumer that is used: two partitions, and the batches that it is given."""

    def __init__(self, *batches: list[FakeMessage], refusals: int = 0, code: int = 0) -> None:
        self.assigned: list[tuple[int, int]] = []
        self.refusals = refusals
        self._code = code
        self._batches: Iterator[list[FakeMessage]] = iter(batches)

    def list_topics(self, topic: str, timeout: float) -> FakeMetadata:
        listed = {"t": FakeMetadata(partitions={1: None, 0: None})}
        return FakeMetadata(topics={topic: listed[topic]} if topic in listed else {})

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> tuple[int, int]:
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(self._code))
        return 3, 7 + partition.partition

    def committed(self, asked: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.refusals:
            self.refusals -= 1
            raise KafkaException(KafkaError(self._code))
        return [TopicPartition(place.topic, place.partition, 5) for place in asked]

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = [(place.partition, place.offset) for place in places]

    def consume(self, count: int, timeout: float) -> list[FakeMessage]:
        return next(self._batches, [])


def consumer(fake: FakeConsumer) -> Consumer:
    return cast(Consumer, fake)


def read_offsets(
    fake: FakeConsumer, ranges: dict[int, range], seconds: float = 10
) -> list[tuple[int | None, int | None]]:
    messages: Iterator[Message] = read(consumer(fake), "t", ranges, seconds)
    return [(message.partition(), message.offset()) for message in messages]


def test_offsets_are_ranges_by_partition() -> None:
    assert offsets(consumer(FakeConsumer()), "t", 10) == {0: range(3, 7), 1: range(3, 8)}
    assert partitions(consumer(FakeConsumer()), "t", 10) == (0, 1)


@pytest.mark.parametrize(
    "code", [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError._UNKNOWN_PARTITION]
)
def test_offsets_of_a_topic_without_a_leader_yet_are_asked_for_again(code: int) -> None:
    """A broker under load takes a moment between creating a topic and leading it."""
    fake = FakeConsumer(refusals=2, code=code)
    assert offsets(consumer(fake), "t", 10)[0] == range(3, 7)
    assert fake.refusals == 0


def test_committed_offsets_are_asked_for_again_until_a_new_broker_knows_the_group() -> None:
    """It says that it is not the group's coordinator, for seconds under load."""
    fake = FakeConsumer(refusals=2, code=KafkaError.NOT_COORDINATOR)
    assert committed(consumer(fake), "t", [0, 1], 10) == {0: 5, 1: 5}
    assert fake.refusals == 0


@pytest.mark.parametrize(
    ("code", "seconds"),
    [(KafkaError.NOT_LEADER_FOR_PARTITION, 0.2), (KafkaError._TRANSPORT, 10)],
    ids=["no leader until the deadline", "no broker"],
)
def test_offsets_raise_what_does_not_pass_by_itself(code: int, seconds: float) -> None:
    with pytest.raises(KafkaException):
        offsets(consumer(FakeConsumer(refusals=1000, code=code)), "t", seconds)


def test_missing_topic_has_no_partitions_and_its_offsets_raise() -> None:
    assert partitions(consumer(FakeConsumer()), "other", 10) == ()
    with pytest.raises(KafkaException):
        offsets(consumer(FakeConsumer()), "other", 0.1)


def test_read_ends_with_the_last_offset_of_each_range() -> None:
    fake = FakeConsumer(
        [FakeMessage(3), FakeMessage(5, 1)], [FakeMessage(4), FakeMessage(5), FakeMessage(6, 1)]
    )
    messages = read_offsets(fake, {0: range(3, 5), 1: range(5, 7), 2: range(9, 9)})
    assert messages == [(0, 3), (1, 5), (0, 4), (1, 6)]
    assert fake.assigned == [(0, 3), (1, 5)], "an empty range is not read"


@pytest.mark.parametrize(
    "last",
    [FakeMessage(9, failure=EOF), FakeMessage(9)],
    ids=["end of the partition", "a message beyond the range"],
)
def test_read_ends_although_the_last_offsets_hold_no_message(last: FakeMessage) -> None:
    """Compaction and transaction markers leave such offsets."""
    fake = FakeConsumer([FakeMessage(3), last])
    assert read_offsets(fake, {0: range(3, 8)}) == [(0, 3)]


def test_read_waits_for_a_leader_and_raises_other_errors() -> None:
    fake = FakeConsumer([FakeMessage(0, failure=LEADERLESS)], [FakeMessage(3)])
    assert read_offsets(fake, {0: range(3, 4)}) == [(0, 3)]
    refused = FakeMessage(0, failure=KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    with pytest.raises(KafkaException):
        read_offsets(FakeConsumer([refused]), {0: range(3, 4)})


def test_read_that_takes_too_long_is_an_outage() -> None:
    with pytest.raises(KafkaUnavailable, match=r"t could not be read within 0\.05 s"):
        read_offsets(FakeConsumer(), {0: range(3, 4)}, seconds=0.05)


def test_error_of_the_client_becomes_one_line_with_address_command_and_setting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mastodon_pipeline.kafka_errors._REASON_SECONDS", 0.1)
    settings = Settings(kafka_bootstrap_servers="broker.example:9092")
    with (
        pytest.raises(KafkaUnavailable, match="make up") as raised,
        kafka_errors(settings),
    ):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))
    assert "broker.example:9092" in str(raised.value)
    assert "KAFKA_BOOTSTRAP_SERVERS" in str(raised.value)


def test_new_topic_has_the_replicas_of_the_settings_or_the_brokers_own() -> None:
    """A topic's own configuration stays beside the minimum in sync."""
    topic = new_topic(Settings(), "toots", config={"cleanup.policy": "compact"})
    assert topic.replication_factor == -1
    assert topic.config == {"cleanup.policy": "compact"}
    settings = Settings(kafka_topic_replication_factor=3, kafka_topic_min_insync_replicas=2)
    topic = new_topic(settings, "toots", 4, {"cleanup.policy": "compact"})
    assert (topic.num_partitions, topic.replication_factor) == (4, 3)
    assert topic.config == {"cleanup.policy": "compact", "min.insync.replicas": "2"}


def test_too_few_brokers_for_a_new_topic_is_one_line_that_names_the_setting() -> None:
    refused = r"fewer brokers.*KAFKA_TOPIC_REPLICATION_FACTOR"
    with pytest.raises(KafkaUnavailable, match=refused), kafka_errors(Settings()):
        raise KafkaException(KafkaError(KafkaError.INVALID_REPLICATION_FACTOR))


class FakeAdmin:
    """An admin client's answers about a topic that was just created."""

    def __init__(self, *answers: KafkaError | None) -> None:
        """`answers`: of the partition's leader, one after another."""
        self.answers = [*answers]

    def list_topics(self, timeout: float) -> FakeMetadata:
        return FakeMetadata(topics={"toots": FakeMetadata(partitions={0: None})})

    def list_offsets(
        self, asked: dict[TopicPartition, object], request_timeout: float
    ) -> dict[TopicPartition, Future[object]]:
        [place] = asked
        answer: Future[object] = Future()
        if error := self.answers.pop(0):
            answer.set_exception(KafkaException(error))
        else:
            answer.set_result(object())
        return {place: answer}


def test_new_topic_is_awaited_until_its_leader_answers() -> None:
    """The controller confirms it before that; one that stays away is waited for a while only."""
    unknown = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
    admin = FakeAdmin(unknown, LEADERLESS, None)
    await_leaders(cast(AdminClient, admin), {"toots"}, deadline_seconds=60)
    assert admin.answers == []
    await_leaders(cast(AdminClient, FakeAdmin(unknown)), {"toots"}, deadline_seconds=0)
    await_leaders(cast(AdminClient, FakeAdmin()), {"of another broker"}, deadline_seconds=0)
