"""Three Kafka brokers and two Kafka Connect workers, of which one each is killed under load."""

import os
import shutil
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from infra.simulator.truth import TrueToot
from mastodon_pipeline.cli.kafka_checks import check_kafka
from mastodon_pipeline.cli.machine_checks import Unhealthy, Waiting
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.kafka import admin_client
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.health import connector_health
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.cluster import IN_SYNC, REPLICAS, ClusterStack
from mastodon_pipeline_tests.support.iceberg_records import assert_iceberg_has_each_record_once
from mastodon_pipeline_tests.support.kafka_topics import new_toots
from mastodon_pipeline_tests.support.landing_sink import sink_lag
from mastodon_pipeline_tests.support.postgres import postgres_server
from mastodon_pipeline_tests.support.running_listener import running_listener
from mastodon_pipeline_tests.support.simulated_servers import simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.cluster]
TOOTS_PER_SECOND = 10.0
AWAY_SECONDS = 60.0
CONNECT_TOPICS = {"connect-configs", "connect-offsets", "connect-status"}
OUR_TOPICS = {"", "-dlq", "-positions", "-tallies"}


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> Iterator[ClusterStack]:
    """The cluster, with the Iceberg catalog in PostgreSQL; its settings are in the environment."""
    with postgres_server() as server:
        for name, value in {
            "LAKE_CATALOG_URI": server.new_database(),
            "KAFKA_TOPIC_REPLICATION_FACTOR": str(REPLICAS),
            "KAFKA_TOPIC_MIN_INSYNC_REPLICAS": str(IN_SYNC),
            "SINK_TASKS": "2",
        }.items():
            monkeypatch.setenv(name, value)
        data = Path(tempfile.mkdtemp(prefix="mastodon-cluster-")).resolve()
        stack = ClusterStack(data)
        try:
            stack.up()
            for name, value in stack.environment.items():
                monkeypatch.setenv(name, value)
            yield stack
        finally:
            stack.down()
            shutil.rmtree(data)


@pytest.mark.timeout(3600)
def test_broker_and_worker_are_killed_under_load_and_away_for_a_minute(
    stack: ClusterStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader of a partition, and the worker that commits: nothing is lost, nothing twice.

    Shows G2, G10, G12.
    """
    with Simulator(Options(toots=0, start="now")) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        apply_connector_config(settings, print)
        with running_listener(settings):
            wait_until(lambda: followed(simulator), "every server is followed")
            publish(simulator, TOOTS_PER_SECOND)
            kill_one_of_each(settings, stack)
            publish(simulator, 0.0)
            truth = received(simulator, settings)
        wait_until_landed(settings)
    with open_lake(settings) as lake:
        completeness = landing_completeness(settings, lake)
        assert completeness.complete, completeness
        assert counted(lake, truth) == Counter(toot.uri for toot in truth)
    assert_iceberg_has_each_record_once(settings)
    print(f"{len(truth)} published, each of them once in toots")


def kill_one_of_each(settings: Settings, stack: ClusterStack) -> None:
    """Kill a broker and a worker at once, keep them away, and wait until both are back at work."""
    wait_until(lambda: len(workers(settings)) == 2, "a task on each worker")
    wait_until(lambda: committed(settings) > 100, "records are landed")
    wait_until(lambda: not kafka_problem(settings), lambda: kafka_problem(settings))
    assert "each on 3 of 3 brokers, min.insync.replicas 2" in check_kafka(settings)
    topics = admin_client(settings).list_topics(timeout=300).topics
    ours = {f"{settings.kafka_topic}{suffix}" for suffix in OUR_TOPICS}
    assert {*ours, *CONNECT_TOPICS, "control-iceberg"} <= topics.keys()
    replicas = {len(p.replicas) for topic in topics.values() for p in topic.partitions.values()}
    assert replicas == {REPLICAS}

    broker = stack.broker(topics[settings.kafka_topic].partitions[0].leader)
    worker = stack.worker(workers(settings)[0])
    for program in (broker, worker):
        kill(stack, program)
    killed = time.monotonic()
    wait_until(lambda: "lacks replicas" in kafka_problem(settings), "doctor reports it")
    wait_until(lambda: len(workers(settings)) == 1, "both tasks on the other worker")
    print(f"{broker}, {worker} killed: both tasks run {time.monotonic() - killed:.0f} s later")
    before = committed(settings)
    wait_until(lambda: committed(settings) > before, "records are landed without them")
    print(f"landed again {time.monotonic() - killed:.0f} s later")
    wait_until(lambda: time.monotonic() - killed > AWAY_SECONDS, "a minute")

    for program in (broker, worker):
        stack.supervisor.start(program)
    started = time.monotonic()
    wait_until(lambda: not kafka_problem(settings), lambda: kafka_problem(settings))
    print(f"all replicas are in sync {time.monotonic() - started:.0f} s after the start")
    wait_until(lambda: len(workers(settings)) == 2, "a task on each worker again")
    before = committed(settings)
    wait_until(lambda: committed(settings) > before, "records are landed again")
    print(f"two workers land {time.monotonic() - started:.0f} s after the start")


def kill(stack: ClusterStack, program: str) -> None:
    """Kill a program with SIGKILL, and keep supervisord from starting it again."""
    [process] = [each for each in stack.supervisor.processes() if each.name == program]
    os.kill(process.pid, signal.SIGKILL)
    stack.supervisor.stop(program)


def kafka_problem(settings: Settings) -> str:
    """Return what `doctor` finds wrong with Kafka; '' for nothing."""
    try:
        check_kafka(settings)
    except (Unhealthy, Waiting, PipelineError) as problem:
        return str(problem)
    return ""


def workers(settings: Settings) -> list[str]:
    """Return the workers that run the sink's tasks, that of the first task first; [] if not all.

    What fails is repaired, as `connector_supervisor` does.
    """
    try:
        if connector_health(settings, None, time.time()).state.needs_repair:
            apply_connector_config(settings, print)
        with ConnectRest.of(settings) as connect:
            status = connect.status(settings.connector_name)
    except PipelineError:
        return []
    if status is None or not status.running or len(status.tasks) != 2:
        return []
    return list(dict.fromkeys(task.worker_id for task in status.tasks))


def committed(settings: Settings) -> int:
    """Return how many records the sink has landed."""
    health = connector_health(settings, None, time.time())
    return health.watermark.committed if health.watermark else 0


def wait_until_landed(settings: Settings) -> None:
    """Wait until all records have landed, while tasks that fail are started again."""
    wait_until(lambda: workers(settings) and sink_lag(settings) == 0, "all records have landed")


def followed(simulator: Simulator) -> bool:
    """Return whether a listener reads every server."""
    return all(each["streams_open"] or each["polls"] for each in simulator.status()["servers"])


def publish(simulator: Simulator, toots_per_second: float) -> None:
    """Let the servers publish so many toots from now on."""
    fediverse = simulator.fediverse
    simulator.call(lambda: setattr(fediverse, "live_rate", toots_per_second))


def received(simulator: Simulator, settings: Settings) -> list[TrueToot]:
    """Return what was published, once Kafka has all of it; what is on its way still comes."""

    def missing() -> int:
        return len({toot.uri for toot in simulator.truth()} - new_toots(settings).keys())

    wait_until(lambda: not missing(), lambda: f"{missing()} are not in Kafka", poll_seconds=5)
    return simulator.truth()


def counted(lake: Lake, truth: list[TrueToot]) -> Counter[str]:
    """Build the hours of these toots, and return how often each is in `toots`."""
    hours = {datetime.strptime(toot.hour, "%Y-%m-%d-%H").replace(tzinfo=UTC) for toot in truth}
    build_hours(lake, *sorted(hours))
    files = [file.path for file in lake.parquet_files(lake.layout.table("toots"))]
    rows = lake.connection.execute("SELECT uri FROM read_parquet(?)", [files]).fetchall()
    return Counter(uri for (uri,) in rows)
