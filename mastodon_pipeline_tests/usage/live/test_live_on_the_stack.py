"""The live views over real services: Kafka, its sink, and MinIO."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from msgspec.structs import replace

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.live.views import create_live_views, open_live_tables
from mastodon_pipeline.usage.views import connect_views
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.producing import produce

ENVIRONMENT = {
    "KAFKA_TOPIC": "live-topic",
    "S3_BUCKET": "live-bucket",
    "CONNECTOR_NAME": "live-sink",
    "ICEBERG_TABLE": "live.raw",
}
BIN = Path(sys.executable).parent


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A topic, a bucket and a sink of this test, named in the environment."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    ensure_topics(settings, listening_topics(settings))
    apply_connector_config(settings, str)
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def toots(first: int, last: int, hour: datetime) -> list[TootRecord]:
    """Return toots of an hour, by their numbers."""
    return [
        TootRecord(
            uri=f"https://mastodon.example/users/a/statuses/{number}",
            status_id=str(number),
            base_url="https://mastodon.example",
            server="mastodon.example",
            username="a",
            acct="a",
            created_at=milliseconds(hour + timedelta(milliseconds=number)),
            ingested_at=milliseconds(datetime.now(UTC)),
            mastodon_text="hello",
            characters=5,
        )
        for number in range(first, last)
    ]


def counted(connection: duckdb.DuckDBPyConnection) -> dict[datetime, int]:
    """Return the live counts by hour; those of both live tables are the same."""
    by_hour = dict(
        connection.execute(
            "SELECT hour, toots FROM live.toots_per_server_per_hour ORDER BY hour"
        ).fetchall()
    )
    rows = connection.execute(
        "SELECT date_trunc('hour', created_at), count(*), count(DISTINCT uri)"
        " FROM live.toots GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert rows == [(hour, toots, toots) for hour, toots in by_hour.items()]
    return by_hour


def test_live_counts_what_kafka_acknowledged_wherever_it_is(settings: Settings) -> None:
    """In the topic, landed, or in the tables; the day's tables and the command agree. Shows G27."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    before = hour - timedelta(hours=1)
    with (
        closing(connect_views(settings, live=False)) as connection,
        open_lake(settings) as lake,
    ):
        create_live_views(connection, open_live_tables(settings), same_cut_seconds=0.0)
        assert counted(connection) == {}
        produce(settings, toots(0, 100, hour))
        assert counted(connection) == {hour: 100}, "in the topic"
        wait_for_sink(settings)
        assert counted(connection) == {hour: 100}, "landed"
        build_hours(lake, hour)
        build_day(lake, hour.date())
        assert counted(connection) == {hour: 100}, "in the tables"
        late = toots(1000, 1010, before)
        edited = [
            replace(toot, event="status.update", edited_at=toot.created_at + 60_000, app="Tusky")
            for toot in toots(0, 10, hour)
        ]
        produce(settings, [*edited, *toots(95, 120, hour), *late])
        assert counted(connection) == {before: 10, hour: 120}, "late ones, and copies"
        wait_for_sink(settings)
        produce(settings, toots(120, 150, hour))
        build_hours(lake, before)
        assert counted(connection) == {before: 10, hour: 150}, "in all three places"
        apps = connection.execute(
            "SELECT app, sum(toots) FROM live.app_usage GROUP BY app ORDER BY app"
        ).fetchall()
        assert apps == [("", 150), ("Tusky", 10)]
        statement = "SELECT sum(toots) AS toots FROM live.daily_usage"
        asked = subprocess.run(
            [BIN / "mastodon-pipeline", "sql", "--csv", statement],
            check=True,
            capture_output=True,
            text=True,
        )
        assert asked.stdout == "toots\n160\n"


def test_other_views_work_while_kafka_is_away(settings: Settings) -> None:
    """Live ones say in one line that it does not answer."""
    away = settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})
    with closing(connect_views(away)) as connection:
        assert connection.execute("SELECT 1").fetchall() == [(1,)]
        with pytest.raises(duckdb.Error, match=r"KafkaUnavailable: Kafka at 127.0.0.1:1 does not"):
            connection.execute("SELECT count(*) FROM live.toots")
    environment = {"KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"}
    asked = subprocess.run(
        [BIN / "mastodon-pipeline", "sql", "SELECT count(*) FROM live.toots"],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )
    assert asked.returncode == 1
    assert asked.stderr.startswith("mastodon-pipeline: Kafka at 127.0.0.1:1 does not answer")
    assert asked.stderr.count("\n") == 1
