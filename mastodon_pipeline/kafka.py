"""Kafka, but for producing: topics made, offsets asked for, records read.

Readers assign partitions to themselves and commit nothing, so they disturb no other consumer.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeVar

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    OffsetSpec,
    ResourceType,
)
from confluent_kafka.admin import NewTopic as NewTopic  # type: ignore[attr-defined]  # no __all__

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka_errors import client_config_errors, kafka_errors
from mastodon_pipeline.settings import Settings

_Answer = TypeVar("_Answer")
_READERS_GROUP = "mastodon-pipeline-readers"
"""librdkafka wants a group, though nothing is committed."""
_BROKERS_DEFAULT = -1
_BATCH = 1000
_POLL_SECONDS = 0.1
_RETRY_SECONDS = 0.1
_NOT_READY_YET = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        # Of another broker, or of an answer that was on its way when the topic was created.
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        # While another broker takes over.
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
    }
)
_REFUSED_CONFIG = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.POLICY_VIOLATION,
        KafkaError.INVALID_CONFIG,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
    }
)


def admin_client(settings: Settings) -> AdminClient:
    """Return an admin client that keeps librdkafka's connection messages off the terminal.

    Raises SettingsError if librdkafka refuses the settings together.
    """
    with client_config_errors():
        return AdminClient({**settings.kafka_client_config(), "log_level": 0})


def new_topic(
    settings: Settings, name: str, partitions: int = 1, config: Mapping[str, str] | None = None
) -> NewTopic:
    """Return a topic for `ensure_topics`, with as many replicas as the settings want."""
    replicas = settings.kafka_topic_min_insync_replicas
    in_sync = {} if replicas is None else {"min.insync.replicas": str(replicas)}
    return NewTopic(
        name,
        num_partitions=partitions,
        replication_factor=settings.kafka_topic_replication_factor or _BROKERS_DEFAULT,
        config={**in_sync, **(config or {})},
    )


def ensure_topics(
    settings: Settings, topics: Sequence[NewTopic], deadline_seconds: float = 15.0
) -> tuple[str, ...]:
    """Create the topics that do not exist yet, and return their names once they answer.

    Existing topics stay as they are. Raises KafkaUnavailable if the broker does not answer within
    `deadline_seconds`.
    """
    admin = admin_client(settings)
    created = []
    with kafka_errors(settings):
        existing = admin.list_topics(timeout=deadline_seconds).topics
        missing = [topic for topic in topics if topic.topic not in existing]
        if not missing:
            return ()
        for name, future in admin.create_topics(missing, request_timeout=deadline_seconds).items():
            try:
                future.result(deadline_seconds)
                created.append(name)
            except KafkaException as error:
                # Another process may have been a moment faster.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
        await_leaders(admin, {topic.topic for topic in missing}, deadline_seconds)
    return tuple(created)


def await_leaders(admin: AdminClient, topics: set[str], deadline_seconds: float) -> None:
    """Wait until each partition's leader answers; after `deadline_seconds` they exist all the same.

    The controller confirms a topic before the brokers hear of it, on a busy machine by seconds:
    until then they call it unknown, or say that another one leads it.
    """

    def ask() -> None:
        listed = admin.list_topics(timeout=deadline_seconds).topics
        if any(name not in listed or not listed[name].partitions for name in topics):
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        places = [TopicPartition(name, n) for name in topics for n in listed[name].partitions]
        earliest = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
        request = dict.fromkeys(places, earliest)
        for future in admin.list_offsets(request, request_timeout=deadline_seconds).values():
            future.result(deadline_seconds)

    with suppress(KafkaException, TimeoutError):
        once_ready(ask, deadline_seconds)


def set_topic_config(settings: Settings, topic: str, config: Mapping[str, str]) -> bool:
    """Give an existing topic these settings; return whether the broker lets us.

    Raises KafkaUnavailable if the broker does not answer.
    """
    entries = [
        ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
        for name, value in config.items()
    ]
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
    admin = admin_client(settings)  # held until it is done: without it, its requests end
    with kafka_errors(settings):
        [future] = admin.incremental_alter_configs([resource]).values()
        try:
            future.result(15.0)
        except KafkaException as error:
            if error.args[0].code() not in _REFUSED_CONFIG:
                raise
            return False
    return True


def topic_id(
    settings: Settings,
    topic: str,
    timeout_seconds: float = 15.0,
    admin: AdminClient | None = None,
) -> str | None:
    """Return a topic's id, which a topic made again does not have; None if there is no such topic.

    Who asks again and again brings a client. Raises KafkaUnavailable if the broker does not answer.
    """
    admin = admin or admin_client(settings)
    with kafka_errors(settings):
        described = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_seconds)
        try:
            return str(described[topic].result(timeout_seconds).topic_id)
        except TimeoutError:
            raise KafkaUnavailable(
                f"Kafka at {settings.kafka_bootstrap_servers} does not answer within"
                f" {timeout_seconds:g} s"
            ) from None
        except KafkaException as error:
            if error.args[0].code() not in (
                KafkaError.UNKNOWN_TOPIC_OR_PART,
                KafkaError._UNSUPPORTED_FEATURE,  # a broker without ids
                KafkaError.UNSUPPORTED_VERSION,
            ):
                raise
            return None


@contextmanager
def open_consumer(
    settings: Settings, group: str = _READERS_GROUP, config: Mapping[str, Any] | None = None
) -> Iterator[Consumer]:
    """Open a consumer for `offsets` and `read`, and close it at the end.

    `group` matters only to ask for the group's committed offsets; it is never joined. `config` has
    further settings of librdkafka's. A KafkaException in the body becomes KafkaUnavailable.
    """
    with client_config_errors():
        consumer = Consumer(
            {
                **settings.kafka_client_config(),
                "group.id": group,
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "earliest",
                "log_level": 0,
                **(config or {}),
            }
        )
    with closing(consumer), kafka_errors(settings):
        yield consumer


def partitions(consumer: Consumer, topic: str, timeout_seconds: float) -> tuple[int, ...]:
    """Return the numbers of a topic's partitions, none if the topic does not exist.

    Raises KafkaException.
    """
    metadata = consumer.list_topics(topic, timeout=timeout_seconds).topics.get(topic)
    return () if metadata is None or metadata.error else tuple(sorted(metadata.partitions))


def offsets(consumer: Consumer, topic: str, timeout_seconds: float) -> dict[int, range]:
    """Return, by partition, the offsets that a topic holds: from the oldest up to the next.

    A topic that was created a moment ago has no leader yet, and its broker says so: it is asked
    again until `timeout_seconds` have passed. Raises KafkaException.
    """

    def ask() -> dict[int, range]:
        numbers = partitions(consumer, topic, timeout_seconds)
        if not numbers:
            raise KafkaException(KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART))
        return {
            number: range(
                *consumer.get_watermark_offsets(
                    TopicPartition(topic, number), timeout=timeout_seconds
                )
            )
            for number in numbers
        }

    return once_ready(ask, timeout_seconds)


def committed(
    consumer: Consumer, topic: str, numbers: Sequence[int], timeout_seconds: float
) -> dict[int, int]:
    """Return the offset that the consumer's group committed in each partition; negative for none.

    A broker that was started a moment ago does not know the group yet: it is asked again until
    `timeout_seconds` have passed. Raises KafkaException.
    """
    asked = [TopicPartition(topic, number) for number in numbers]
    places = once_ready(lambda: consumer.committed(asked, timeout=timeout_seconds), timeout_seconds)
    return {place.partition: place.offset for place in places}


def once_ready(ask: Callable[[], _Answer], timeout_seconds: float) -> _Answer:
    """Return what `ask` returns, asked again while a broker or a topic is too new to answer.

    Raises KafkaException as `ask` does, of that kind after `timeout_seconds`.
    """
    deadline = time.monotonic() + timeout_seconds
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() not in _NOT_READY_YET or time.monotonic() > deadline:
                raise
        time.sleep(_RETRY_SECONDS)


def read(
    consumer: Consumer, topic: str, ranges: Mapping[int, range], timeout_seconds: float
) -> Iterator[Message]:
    """Read the messages of each partition's range of offsets; partitions come in no fixed order.

    A partition is done at the last offset of its range, at the first message beyond it, or at the
    partition's end: compaction and transaction markers leave offsets without messages.

    Raises KafkaException, or KafkaUnavailable if it takes longer than `timeout_seconds`.
    """
    ends = {number: offsets.stop for number, offsets in ranges.items() if offsets}
    consumer.assign([TopicPartition(topic, number, ranges[number].start) for number in ends])
    places = {number: ranges[number].start for number in ends}
    deadline = time.monotonic() + timeout_seconds
    while ends:
        if time.monotonic() > deadline:
            raise KafkaUnavailable(
                f"topic {topic} could not be read within {timeout_seconds:g} s; is the broker busy?"
            )
        # It waits until it has this many: for more than there are, it would wait in vain.
        left = sum(ends[number] - places[number] for number in ends)
        for message in consumer.consume(max(1, min(left, _BATCH)), timeout=_POLL_SECONDS):
            error, number, offset = message.error(), message.partition(), message.offset()
            at_end = error is not None and error.code() == KafkaError._PARTITION_EOF
            if error is not None and not at_end:
                if error.code() in _NOT_READY_YET:
                    continue
                raise KafkaException(error)
            if number is None or offset is None or number not in ends:
                continue
            places[number] = offset + (not at_end)
            if not at_end and offset < ends[number]:
                yield message
            if at_end or offset >= ends[number] - 1:
                del ends[number]
