"""The sink that the landing tests share: what was produced to it, and waiting until it has it."""

from datetime import UTC, datetime

from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.producing import eventually

FIRST = datetime(2026, 3, 1, 9, tzinfo=UTC)
HOURS = 4
COUNT = 1000
LONG_AGO = 1_000.0
NAMES = {
    "KAFKA_TOPIC": "landing-topic",
    "S3_BUCKET": "landing-bucket",
    "CONNECTOR_NAME": "landing-sink",
    "ICEBERG_TABLE": "landing.raw",
}


def lag(settings: Settings) -> int:
    """Records that the sink has not committed yet."""
    return sum(place.lag for place in sink_progress(settings))


def caught_up(settings: Settings) -> None:
    """Waits until the sink has committed all there is."""
    eventually(lambda: lag(settings) == 0, "the sink has committed all records")
