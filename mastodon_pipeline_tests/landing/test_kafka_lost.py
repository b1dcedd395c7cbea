"""Kafka's data is lost while the lake stays, on a stack of this module's own.

The tests run in order: each goes on with what the one before has left.
"""

import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest
from msgspec.structs import replace

from infra.native_stack import Stack
from infra.native_stack.temporary import temporary_stack
from mastodon_pipeline.kafka import admin_client, ensure_topics
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.assets import _check_result
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sensors import connector_supervisor
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.sink_lake import SinkLake
from mastodon_pipeline_tests.support.stack_environment import QUICK_COMMITS
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

FIRST = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
LANDED, NOT_LANDED, AFTERWARDS = 400, 30, 300


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    with pytest.MonkeyPatch.context() as environment, temporary_stack() as stack:
        for name, value in QUICK_COMMITS.items():
            environment.setenv(name, value)
        yield stack


@pytest.fixture(scope="module")
def sink_lake(own_stack: Stack) -> SinkLake:
    """A lake with toots that have landed; 30 more are in Kafka alone when its data is lost."""
    settings = load_settings(first_day="2020-01-01")
    sink_lake = SinkLake(settings)
    ensure_topics(settings, listening_topics(settings))
    produce_batch(sink_lake, "before", LANDED)
    apply_connector_config(settings, str)
    wait_for_sink(settings)
    wait_until(lambda: sink_lake.committed_rows() >= LANDED, "the sink has committed")
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)
        wait_until(lambda: connect.status(settings.connector_name) is None, "the sink is gone")
    produce_batch(sink_lake, "lost", NOT_LANDED)
    with open_lake(settings) as lake:
        completeness = landing_completeness(settings, lake)
        assert (completeness.landed, completeness.in_flight) == (LANDED, NOT_LANDED)
        assert count(lake) == LANDED
    own_stack.down()
    shutil.rmtree(own_stack.data / "kafka")
    own_stack.up()
    return sink_lake


def produce_batch(sink_lake: SinkLake, batch: str, number: int) -> None:
    records = [
        replace(
            record, uri=f"https://mastodon.example/{batch}/{index}", status_id=f"{batch}{index}"
        )
        for index, record in enumerate(toots(number, FIRST, 3))
    ]
    produce(sink_lake.settings, records)


def count(lake: Lake) -> int:
    """Build what is stale, and return the distinct toots."""
    build_hours(lake, *scan(lake, Cursor(), datetime.now(UTC), date(2020, 1, 1)).stale_hours)
    path = f"{lake.layout.table('toots')}*/*/*.parquet"
    row = lake.connection.execute("SELECT count(DISTINCT uri) FROM read_parquet(?)", [path])
    return int((row.fetchone() or (0,))[0])


def supervise(instance: dg.DagsterInstance, cursor: str | None) -> str:
    """Run a tick of the supervisor, and the repair that it requests; return the cursor."""
    tick = connector_supervisor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(tick, dg.SensorResult)
    for request in tick.run_requests or ():
        assert kafka_connect_config.execute_in_process(
            instance=instance, run_config=request.run_config
        ).success
    assert tick.cursor is not None
    return tick.cursor


def test_sink_goes_on_and_its_table_names_the_new_files(sink_lake: SinkLake) -> None:
    """Though the table says that it has read further than the new control topic goes.

    Shows G10 and G11.
    """
    settings = sink_lake.settings
    with dg.DagsterInstance.ephemeral() as instance:
        supervise(instance, None)
    produce_batch(sink_lake, "after", AFTERWARDS)
    wait_for_sink(settings)
    total = LANDED + AFTERWARDS
    wait_until(lambda: sink_lake.committed_rows() >= total, "the table has the new files")
    assert sink_lake.iceberg_rows() == total


def test_what_was_lost_is_counted_and_the_rest_complete(sink_lake: SinkLake) -> None:
    """By every later check; offsets of the earlier topic prove nothing about the new one.

    Shows G10.
    """
    for _ in range(2):
        with open_lake(sink_lake.settings) as lake:
            completeness = landing_completeness(sink_lake.settings, lake)
        assert (completeness.landed, completeness.missing) == (AFTERWARDS, 0)
        assert (completeness.lost, completeness.lost_with_topics) == (0, NOT_LANDED)
        result = _check_result(completeness)
        assert not result.passed
        assert "30 records are lost with an earlier topic of this name" in str(result.description)
        assert "the topic is a new one since" in str(result.description)


def test_nothing_that_landed_is_taken_for_a_copy(sink_lake: SinkLake) -> None:
    """The same partitions and offsets, other records: maintenance leaves all of them. Shows G17."""
    with open_lake(sink_lake.settings) as lake:
        before = {file.path for file in lake.parquet_files(lake.layout.landed())}
        assert count(lake) == LANDED + AFTERWARDS
    sink_lake.age()
    report = sink_lake.maintain()
    assert report.faults == []
    with open_lake(sink_lake.settings) as lake:
        assert before <= {file.path for file in lake.parquet_files(lake.layout.landed())}
        assert count(lake) == LANDED + AFTERWARDS + 1


def test_control_topic_that_is_made_again_is_noticed_while_all_runs(sink_lake: SinkLake) -> None:
    """The supervisor remembers its id. Files announced meanwhile are in the lake all the same."""
    settings = sink_lake.settings
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = supervise(instance, None)
        admin = admin_client(settings)  # held until it is done
        [deletion] = admin.delete_topics([CONTROL_TOPIC]).values()
        deletion.result(300)
        before = sink_lake.committed_rows()
        produce_batch(sink_lake, "meanwhile", 50)

        def repaired() -> bool:
            nonlocal cursor
            cursor = supervise(instance, cursor)
            produce_batch(sink_lake, "again", 5)
            return sink_lake.committed_rows() > before

        wait_until(repaired, "the table names new files again", 180, poll_seconds=2)
    wait_for_sink(settings)
    with open_lake(settings) as lake:
        assert count(lake) == LANDED + AFTERWARDS + 1 + 50 + 5
