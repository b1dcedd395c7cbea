"""Kafka and the pipeline's topics, for `doctor`: what lacks a leader, or a replica."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    AdminClient,
    ConfigResource,
    PartitionMetadata,
    ResourceType,
)

from mastodon_pipeline.cli.machine_checks import Unhealthy, Waiting
from mastodon_pipeline.kafka import admin_client
from mastodon_pipeline.kafka_errors import kafka_errors
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.settings import Settings

_DEADLINE_SECONDS = 5.0
_MIN_INSYNC = "min.insync.replicas"


@dataclass(frozen=True, slots=True)
class TopicCopies:
    """A topic's partitions, with their leaders and replicas."""

    name: str
    partitions: tuple[PartitionMetadata, ...]
    min_insync: int
    """Replicas that must have a record before it is acknowledged."""

    def any_partition(self, wrong: Callable[[PartitionMetadata], bool]) -> bool:
        """Return whether this holds for a partition."""
        return any(wrong(partition) for partition in self.partitions)


def check_kafka(settings: Settings) -> str:
    """Describe how the topic is replicated, and check that every partition of ours is in sync.

    Raises Waiting before there is a topic, Unhealthy, and KafkaUnavailable.
    """
    with kafka_errors(settings):
        admin = admin_client(settings)
        metadata = admin.list_topics(timeout=_DEADLINE_SECONDS)
        if settings.kafka_topic not in metadata.topics:
            raise Waiting(f"it has no {settings.kafka_topic} yet: the first listener creates it")
        names = [name for name in _names(settings) if name in metadata.topics]
        min_insync = _min_insync(admin, names)
    topics = [
        TopicCopies(name, tuple(metadata.topics[name].partitions.values()), min_insync[name])
        for name in names
    ]
    require_replicas(topics)
    toots = topics[0]
    line = f"{toots.name} has {len(toots.partitions)} partitions"
    if len(metadata.brokers) == 1:
        return line
    replicas = min(len(partition.replicas) for partition in toots.partitions)
    line += f", each on {replicas} of {len(metadata.brokers)} brokers"
    if replicas == 1:
        return f"{line}; but what its disk loses is lost: KAFKA_TOPIC_REPLICATION_FACTOR"
    return f"{line}, {_MIN_INSYNC} {toots.min_insync}"


def _names(settings: Settings) -> tuple[str, ...]:
    return (
        *(settings.kafka_topic, settings.dead_letter_topic, settings.positions_topic),
        *(settings.tallies_topic, CONTROL_TOPIC),
    )


def require_replicas(topics: Sequence[TopicCopies]) -> None:
    """Raise Unhealthy for the worst that is wrong, with the names of the topics."""
    problems: tuple[tuple[str, Callable[[TopicCopies], bool]], ...] = (
        ("has no leader", lambda topic: topic.any_partition(lambda p: p.leader < 0)),
        (
            f"takes no records, with fewer replicas in sync than {_MIN_INSYNC}",
            lambda topic: topic.any_partition(lambda p: len(p.isrs) < topic.min_insync),
        ),
        (
            "lacks replicas that are in sync",
            lambda topic: topic.any_partition(lambda p: len(p.isrs) < len(p.replicas)),
        ),
    )
    for problem, wrong in problems:
        if affected := [topic.name for topic in topics if wrong(topic)]:
            raise Unhealthy(
                f"a partition of {', '.join(affected)} {problem}: start the brokers that are down"
            )


def _min_insync(admin: AdminClient, topics: Sequence[str]) -> dict[str, int]:
    """Return the topics' min.insync.replicas; 1 where the brokers do not let us ask."""
    resources = [ConfigResource(ResourceType.TOPIC, topic) for topic in topics]
    futures = admin.describe_configs(resources, request_timeout=_DEADLINE_SECONDS)
    values = dict.fromkeys(topics, 1)
    for resource, future in futures.items():
        with suppress(KafkaException, TimeoutError):
            values[resource.name] = int(future.result(_DEADLINE_SECONDS)[_MIN_INSYNC].value)
    return values
