"""The sink that the landing tests share: its names, what is produced to it, and waiting for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import dagster as dg
import pytest

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.health import SinkState, Watermark, connector_health
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.producing import produce, produce_bytes, toots
from mastodon_pipeline_tests.support.waiting import wait_until

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOURS = 4
COUNT = 1000
LONG_AGO = 1_000.0
"""Seconds since the epoch."""
ENVIRONMENT = {
    "KAFKA_TOPIC": "landing-topic",
    "S3_BUCKET": "landing-bucket",
    "CONNECTOR_NAME": "landing-sink",
    "ICEBERG_TABLE": "landing.raw",
}


def sink_lag(settings: Settings) -> int:
    """Return the number of records that the sink has not committed yet."""
    return sum(partition.lag for partition in sink_progress(settings))


def wait_for_sink(settings: Settings) -> None:
    """Wait until the sink has committed all records."""
    wait_until(lambda: sink_lag(settings) == 0, "the sink has committed all records")


def sink_state(settings: Settings, watermark: Watermark | None = None, now: float = 0) -> SinkState:
    """Return the sink's state once Kafka Connect answers: after a change it rebalances first."""

    def started() -> SinkState | None:
        state = connector_health(settings, watermark, now).state
        return None if state is SinkState.STARTING else state

    state = wait_until(started, lambda: connector_health(settings, watermark, now).detail)
    assert state is not None
    return state


@contextmanager
def landing_sink() -> Iterator[Settings]:
    """Yield settings of the sink, which is deleted at the end."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        settings = load_settings()
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def land_toots(sink: Settings) -> int:
    """Create the connector by the job, and land 1000 toots of four hours; return their number.

    The first record of the topic is a tombstone, which can neither create a table nor land in one.
    """
    ensure_topics(sink, listening_topics(sink))
    produce_bytes(sink, None, partition=0)
    produce(sink, toots(COUNT, FIRST, HOURS))
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        assert kafka_connect_config.execute_in_process(instance=instance).success
    wait_for_sink(sink)
    return COUNT
