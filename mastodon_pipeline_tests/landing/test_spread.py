"""Any spread of post times lands, in one commit and within the sink's default memory."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from click.testing import CliRunner

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.health import SinkState
from mastodon_pipeline.landing.landed_index import landed_toots
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.kafka_topics import apply_topic_config
from mastodon_pipeline_tests.support.landing_sink import sink_state, wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

HOUR = timedelta(hours=1)
NAMES = {
    "KAFKA_TOPIC": "spread-topic",
    "S3_BUCKET": "spread-bucket",
    "CONNECTOR_NAME": "spread-sink",
    "ICEBERG_TABLE": "spread.raw",
    "FIRST_DAY": "2020-01-01",
    "SINK_COMMIT_SECONDS": "10",
}
MANY_HOURS = 9_000
MANY_DAYS = 800
"""Days of arrival in one commit: when a topic of a quiet server is read again, from its start."""
YEAR = 365 * 24


@pytest.fixture(scope="module")
def environment(separate_stack: Stack) -> Iterator[None]:
    """The names in the environment, where the command line reads them.

    On a stack with no other sink at work: its memory is the sink's default.
    """
    with pytest.MonkeyPatch.context() as environment:
        for name, value in NAMES.items():
            environment.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def settings(environment: None) -> Iterator[Settings]:
    """A topic, and names for a bucket and a connector; the sink is created by the first test."""
    settings = load_settings()
    ensure_topics(settings, listening_topics(settings))
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def this_hour() -> datetime:
    """Return the start of this hour."""
    return datetime.now(UTC).replace(minute=0, second=0, microsecond=0)


def test_nine_thousand_post_hours_land_in_one_commit(settings: Settings) -> None:
    """The topic is read at once when the sink is created. Shows G10."""
    first = this_hour() - MANY_HOURS * HOUR
    produce(settings, toots(MANY_HOURS, first, MANY_HOURS))
    apply_connector_config(settings, str)
    wait_for_sink(settings)
    assert sink_state(settings) is SinkState.HEALTHY
    with open_lake(settings) as lake:
        landed = landed_toots(lake)
        assert (landed.rows, landed.hours) == (MANY_HOURS, MANY_HOURS)
        assert landed.files <= 4, "a file for each partition, day of arrival and commit"
        assert landing_completeness(settings, lake).complete
        freshness = scan(lake, Cursor(), datetime.now(UTC), settings.first_day)
        assert 300 <= len(freshness.stale_hours) <= 303, "some at a time"


def test_year_is_replayed_and_counted(settings: Settings, tmp_path: Path) -> None:
    """`mastodon-pipeline replay` of five toots an hour; hours of both ends are built."""
    first = this_hour() - YEAR * HOUR
    path = tmp_path / "year.parquet"
    duckdb.execute(
        "COPY (SELECT 'update' AS event, 'https://past.example/' || n AS uri, n::VARCHAR AS"
        " status_id, 'https://past.example' AS base_url, 'past.example' AS server, 'hello' AS"
        f" mastodon_text, to_timestamp(? + n * 720) AS created_at FROM range({5 * YEAR}) t(n)) TO"
        f" '{path}'",
        [first.timestamp()],
    )
    before = produced(settings)
    result = CliRunner().invoke(cli, ["replay", str(path)])
    assert result.exit_code == 0, result.output
    wait_for_sink(settings)
    assert sink_state(settings) is SinkState.HEALTHY
    with open_lake(settings) as lake:
        assert landed_toots(lake).rows == before + 5 * YEAR
        assert landing_completeness(settings, lake).complete
        hours = [first + n * HOUR for n in (0, 1, YEAR // 2, YEAR - 1)]
        build_hours(lake, *hours)
        for hour in hours:
            counted = lake.connection.execute(
                "SELECT count(*) FROM read_parquet(?) WHERE server = 'past.example'",
                [lake.layout.toots(hour)],
            ).fetchone()
            assert counted == (5,)


@pytest.mark.timeout(1800)  # it writes and lists thousands of files, on whatever machine
def test_hundreds_of_days_of_arrival_land_in_one_commit(settings: Settings) -> None:
    """Each has a writer of its own in the sink. Shows G10."""
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)
    apply_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    before = produced(settings)
    first = this_hour() - timedelta(days=MANY_DAYS)
    count = 10 * MANY_DAYS
    produce(settings, toots(count, first, 24 * MANY_DAYS))
    apply_connector_config(settings, str)
    wait_for_sink(settings)
    assert sink_state(settings) is SinkState.HEALTHY
    with open_lake(settings) as lake:
        landed = lake.parquet_files(lake.layout.landed())
        folders = {file.path.split("/")[-2] for file in landed}
        days = {date.fromisoformat(folder.partition("=")[2]) for folder in folders}
        assert len(days) >= MANY_DAYS
        assert landed_toots(lake).rows == before + count
        assert landing_completeness(settings, lake).complete


def produced(settings: Settings) -> int:
    """Return the rows that have landed."""
    with open_lake(settings) as lake:
        return landed_toots(lake).rows
