"""Retention takes records out of the topic before the sink has read them, on a real broker."""

import uuid
from collections.abc import Iterator

import pytest
from confluent_kafka import TopicPartition

from infra.native_stack import Stack
from mastodon_pipeline.kafka import admin_client, ensure_topics, open_consumer
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.assets import _check_result
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.local_lake import HOUR, record, write_parquet
from mastodon_pipeline_tests.support.producing import produce_bytes

pytestmark = pytest.mark.integration


@pytest.fixture
def unread(stack: Stack) -> Settings:
    """Settings of a topic with ten records in partition 0, and a bucket, that no sink knows."""
    name = f"unread-{uuid.uuid4().hex[:8]}"
    settings = load_settings(kafka_topic=name, s3_bucket=name, connector_name=name)
    ensure_topics(settings, listening_topics(settings))
    ensure_bucket(settings)
    for _ in range(10):
        produce_bytes(settings, b"a record", partition=0)
    return settings


@pytest.fixture
def lake(unread: Settings) -> Iterator[Lake]:
    with open_lake(unread) as lake:
        yield lake


def remove(settings: Settings, below: int) -> None:
    """Remove the oldest records of partition 0, as retention does."""
    oldest = TopicPartition(settings.kafka_topic, 0, below)
    admin = admin_client(settings)
    for future in admin.delete_records([oldest]).values():
        future.result(300)


def commit(settings: Settings, offset: int) -> None:
    """Commit an offset of partition 0 as the sink does."""
    with open_consumer(settings, group=f"connect-{settings.connector_name}") as consumer:
        place = TopicPartition(settings.kafka_topic, 0, offset)
        consumer.commit(offsets=[place], asynchronous=False)


def land(lake: Lake, *offsets: int) -> None:
    path = f"{lake.layout.landed_hour(HOUR)}{offsets[0]}.parquet"
    write_parquet(
        lake.connection, path, [record(kafka_partition=0, kafka_offset=n) for n in offsets]
    )


def test_records_that_retention_took_before_they_landed_are_lost(
    unread: Settings, lake: Lake
) -> None:
    """Counted as soon as they are gone, and still when the sink has gone on behind them.

    Shows G10.
    """
    land(lake, 0, 1, 2)
    commit(unread, 3)
    assert landing_completeness(unread, lake).complete
    remove(unread, below=8)
    losses = landing_completeness(unread, lake)
    assert (losses.lost, losses.missing, losses.complete) == (5, 0, False)
    assert losses.lost_examples == tuple((0, offset) for offset in range(3, 8))
    land(lake, 8, 9)
    commit(unread, 10)
    result = _check_result(landing_completeness(unread, lake))
    assert not result.passed
    assert str(result.description).startswith("5 records are lost: Kafka's retention removed them")


def test_what_never_had_to_land_is_not_lost_when_kafka_forgets_it(
    unread: Settings, lake: Lake
) -> None:
    """A tombstone, seen by a check while Kafka still held it."""
    produce_bytes(unread, None, partition=0)
    produce_bytes(unread, b"a record", partition=0)
    land(lake, *range(10), 11)
    commit(unread, 12)
    completeness = landing_completeness(unread, lake)
    assert (completeness.complete, completeness.cannot_land) == (True, 1)
    remove(unread, below=12)
    completeness = landing_completeness(unread, lake)
    assert (completeness.complete, completeness.lost) == (True, 0)


def test_place_beyond_the_topics_end_is_that_of_an_earlier_topic(
    unread: Settings, lake: Lake
) -> None:
    """All records still wait for the sink, and none is taken for one that need not land.

    Shows G10.
    """
    commit(unread, 500)
    completeness = landing_completeness(unread, lake)
    assert (completeness.checked, completeness.in_flight) == (0, 10)
    assert (completeness.complete, completeness.cannot_land) == (True, 0)
    commit(unread, 10)
    assert landing_completeness(unread, lake).missing == 10
