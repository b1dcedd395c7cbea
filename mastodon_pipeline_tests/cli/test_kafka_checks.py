"""Doctor's line of Kafka: which partitions lack a leader, or replicas that are in sync."""

import pytest
from confluent_kafka.admin import PartitionMetadata  # type: ignore[attr-defined]

from mastodon_pipeline.cli.kafka_checks import TopicCopies, require_replicas
from mastodon_pipeline.cli.machine_checks import Unhealthy


def topic(name: str, leader: int, in_sync: list[int], min_insync: int = 2) -> TopicCopies:
    partition = PartitionMetadata()
    partition.leader, partition.replicas, partition.isrs = leader, [1, 2, 3], in_sync
    return TopicCopies(name, (partition,), min_insync)


HEALTHY = topic("healthy", 1, [1, 2, 3])


def test_topics_that_are_in_sync_are_healthy() -> None:
    require_replicas([HEALTHY, HEALTHY])


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (topic("toots", -1, [2]), "a partition of toots has no leader"),
        (topic("toots", 2, [2]), "toots takes no records, with fewer replicas in sync than min"),
        (topic("toots", 2, [2], min_insync=1), "toots lacks replicas that are in sync"),
        (topic("toots", 2, [2, 3]), "toots lacks replicas that are in sync"),
    ],
)
def test_topic_that_lacks_a_replica_is_named_with_the_fix(
    broken: TopicCopies, problem: str
) -> None:
    with pytest.raises(Unhealthy, match=f"{problem}.*: start the brokers that are down"):
        require_replicas([HEALTHY, broken])
