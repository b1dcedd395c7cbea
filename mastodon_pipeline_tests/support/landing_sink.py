"""The sink that the landing tests share: its names, what is produced to it, and waiting for it."""

from datetime import UTC, datetime

from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.settings import Settings
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
