"""A sink of several tasks, of which one has nothing to do."""

import itertools
import time

import pytest
from confluent_kafka import Producer

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.listening.topic.encoding import encode
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import FIRST
from mastodon_pipeline_tests.support.producing import toots
from mastodon_pipeline_tests.support.waiting import wait_until

COMMIT_SECONDS = 10
IDLE_ROUND_SECONDS = 30.0
"""What a round took where it waited for the idle task."""


@pytest.mark.integration
def test_commits_do_not_wait_for_a_task_without_records(sink: Settings, landed: int) -> None:
    """Records come to one partition alone, and yet two commits follow each other in a round.

    With each waiting for the idle task, none would be less than half a minute after the one before.
    """
    settings = sink.model_copy(
        update={
            "kafka_topic": "idle-topic",
            "connector_name": "idle-sink",
            "iceberg_table": "idle.raw",
            "s3_bucket": "idle-bucket",
            "sink_tasks": 2,
            "sink_commit_seconds": COMMIT_SECONDS,
        }
    )
    ensure_topics(settings, listening_topics(settings))
    schema = register(settings)
    producer = Producer(settings.kafka_client_config())
    [record] = toots(1, FIRST, 1)

    def shortest_round() -> float:
        producer.produce(settings.kafka_topic, encode(record, schema), "key", partition=0)
        producer.flush(30)
        table = open_table(settings)
        times = [snapshot.timestamp_ms for snapshot in table.snapshots()] if table else []
        rounds = itertools.pairwise(times)
        return min((later - earlier for earlier, later in rounds), default=1e9) / 1000

    try:
        apply_connector_config(settings, print)
        began = time.monotonic()
        wait_until(
            lambda: shortest_round() < IDLE_ROUND_SECONDS - COMMIT_SECONDS / 2,
            lambda: f"the shortest round took {shortest_round():.1f} s",
            poll_seconds=0.5,
        )
        print(f"{shortest_round():.1f} s, seen after {time.monotonic() - began:.0f} s")
    finally:
        with ConnectRest.of(settings) as connect:
            connect.delete(settings.connector_name)
