"""Files of the article's listener, of any year, are counted once they are replayed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest
from click.testing import CliRunner

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage import partitions
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.refreshing import sensor
from mastodon_pipeline.usage.remembered_day import load_first_day
from mastodon_pipeline.usage.views import open_views
from mastodon_pipeline_tests.support.article_files import article_row, write_article
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration

NAMES = {
    "KAFKA_TOPIC": "any-day-topic",
    "S3_BUCKET": "any-day-bucket",
    "CONNECTOR_NAME": "any-day-sink",
    "ICEBERG_TABLE": "anyday.raw",
}
FILES = {
    "2023-02-03": (datetime(2023, 2, 3, 9, 30, tzinfo=UTC), 40),
    "2023-02-04": (datetime(2023, 2, 4, 21, 30, tzinfo=UTC), 30),
    "2019-06-07": (datetime(2019, 6, 7, 12, 30, tzinfo=UTC), 20),
}
"""By day: when the first of its toots was read, and how many follow, a minute apart."""


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's home, which remembers the tables' first day."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A topic, a bucket and a sink of this test."""
    for name, value in NAMES.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    ensure_topics(settings, listening_topics(settings))
    apply_connector_config(settings, str)
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def replay(directory: Path, day: str) -> None:
    """Replay the file of a day, as a person does."""
    began, toots = FILES[day]
    read = [began + timedelta(minutes=number) for number in range(toots)]
    rows = [
        article_row(
            created_at=int(at.timestamp()),
            m_id=number,
            url=f"https://one.example/@ada/{day[:4]}{number}",
        )
        for number, at in enumerate(read)
    ]
    path = write_article(directory / f"{day}.parquet", *rows)
    result = CliRunner().invoke(cli, ["replay", path])
    assert result.exit_code == 0, result.output


def refresh(instance: dg.DagsterInstance, cursor: list[str | None]) -> None:
    """Run the sensor once, and what it requests."""
    context = dg.build_sensor_context(instance=instance, cursor=cursor[0], definitions=definitions)
    result = sensor.landed_toots_sensor(context)
    assert isinstance(result, dg.SensorResult)
    cursor[0] = result.cursor
    partitions._first_day.expire()
    for request in result.run_requests or ():
        job = definitions.resolve_job_def(str(request.job_name))
        assert job.execute_in_process(instance=instance, tags=request.tags).success


def counted() -> dict[date, int]:
    """The toots of each day in `daily_usage`, without days that have none."""
    days = "SELECT day, toots FROM daily_usage WHERE toots > 0"
    with open_views(load_settings()) as views, suppress(duckdb.CatalogException):
        return dict(views.sql(days).fetchall())
    return {}  # no day is built yet


def test_files_of_any_year_are_counted_without_a_setting(
    settings: Settings,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The tables begin with the oldest, whichever is replayed first. Shows G12."""
    monkeypatch.setattr(sensor, "DAEMON_ASKS_AGAIN", timedelta(0))
    monkeypatch.setattr(sensor, "DAILY_PAUSE_AT_REST", timedelta(0))
    monkeypatch.setattr(sensor, "DAILY_PAUSE", timedelta(0))
    cursor: list[str | None] = [None]
    replayed: dict[date, int] = {}

    def all_counted() -> bool:
        refresh(instance, cursor)
        return counted() == replayed

    for days, first_day in (
        (("2023-02-03", "2023-02-04"), date(2023, 2, 1)),
        (("2019-06-07",), date(2019, 6, 1)),
    ):
        for day in days:
            replay(tmp_path, day)
        wait_for_sink(settings)
        replayed |= {date.fromisoformat(day): FILES[day][1] for day in days}
        wait_until(all_counted, f"{days} are counted", 400, poll_seconds=1.0)
        remembered = load_first_day(instance)
        assert remembered is not None
        assert remembered.day == first_day
        assert partitions.days.get_first_partition_key() == str(first_day)
