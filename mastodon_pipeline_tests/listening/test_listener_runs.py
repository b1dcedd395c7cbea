"""The job `mastodon_listener` in a process of its own, into a real Kafka."""

import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from infra.native_stack import Stack
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.assets import observe_mastodon_topic
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.sensors import listener_supervisor
from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.reports import load_reports
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    listener_runs,
    save_assignment,
)
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import new_toots, with_new_topics
from mastodon_pipeline_tests.support.processes import python_process
from mastodon_pipeline_tests.support.waiting import wait_until

STREAMING = ServerPolicy("stream.example")
OTHER = ServerPolicy("other.example")
JOB = (
    *("-m", "dagster", "job", "execute", "-j", "mastodon_listener"),
    *("-m", "mastodon_pipeline.listening.definitions"),
)
"""Not in the checkout: Dagster's commands prefer a person's `.env` there to the environment."""


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "runs")


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on disk, which other processes open too."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_listener_run_follows_changed_assignments_and_ends_without_servers(
    settings: Settings, dagster_home: dg.DagsterInstance, tmp_path: Path
) -> None:
    """An added server leaves the other's stream alone; the heartbeat has the list's version.

    Shows G5.
    """
    with Simulator(Options(servers=(STREAMING, OTHER), toots=0, start="control")) as simulator:
        first, second = (parse_server(server.base_url) for server in simulator.servers)

        def follows(version: int) -> bool:
            return listener_runs(dagster_home, DEFAULT_GROUP)[0].assignment_version == version

        save_assignment(dagster_home, DEFAULT_GROUP, Assignment((first,), 1))
        with python_process(*JOB, environment=simulator.environment, cwd=tmp_path) as process:
            streams = [server.streams for server in simulator.servers]
            simulator.wait_until(lambda: len(streams[0]) > 0, 1200)
            wait_until(lambda: follows(1), "a heartbeat")
            [run] = listener_runs(dagster_home, DEFAULT_GROUP)
            assert run.state == "started"
            assert run.has_heartbeat
            assert len(streams[1]) == 0
            save_assignment(dagster_home, DEFAULT_GROUP, Assignment((first, second), 2))
            published = []
            while not follows(2):
                published.append(simulator.publish(0))
                time.sleep(0.1)
            simulator.wait_until(lambda: len(streams[1]) > 0)
            published.append(simulator.publish(1))
            wait_until(lambda: new_toots(settings) == Counter(published), "every toot, once")
            assert simulator.asked("streaming", 0) == 1
            [report] = load_reports(dagster_home, [DEFAULT_GROUP])
            assert first in {server.snapshot.server for server in report.servers}
            save_assignment(dagster_home, DEFAULT_GROUP, Assignment((), 3))
            process.wait(900)
    [run] = listener_runs(dagster_home, DEFAULT_GROUP)
    assert run.state == "ended"


def test_listener_run_that_a_signal_ends_has_failed_and_is_restarted(
    settings: Settings,
    dagster_home: dg.DagsterInstance,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody terminated it in the UI; what it had read is in Kafka. Shows G4."""
    with Simulator(Options(servers=(STREAMING,), toots=0, start="control")) as simulator:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        with python_process(*JOB, cwd=tmp_path) as process:
            streams = simulator.servers[0].streams
            simulator.wait_until(lambda: len(streams) > 0, 1200)
            uri = simulator.publish()
            simulator.wait_until(lambda: len(streams) > 0)
            wait_until(lambda: uri in new_toots(settings), "the toot")
            process.send_signal(signal.SIGTERM)
            process.wait(900)
        [run] = listener_runs(dagster_home, DEFAULT_GROUP)
        assert run.state == "failed"

        def requested() -> bool:
            context = dg.build_sensor_context(instance=dagster_home)
            return isinstance(listener_supervisor(context), dg.SensorResult)

        wait_until(requested, "the next start")


def test_topic_is_observed_with_its_rate(
    settings: Settings, dagster_home: dg.DagsterInstance
) -> None:
    """End offsets, rows and, from the second observation on, records a minute."""
    sink, _ = open_kafka(settings)
    assert observe_mastodon_topic.execute_in_process(instance=dagster_home).success
    for number in range(5):
        record = TootRecord(uri=f"https://a.example/{number}", created_at=1_780_000_000_000)
        sink.send(record, lambda: None)
    sink.close(10)
    assert observe_mastodon_topic.execute_in_process(instance=dagster_home).success
    records = dagster_home.fetch_observations(dg.AssetKey("mastodon_topic"), limit=2).records
    latest = records[0].asset_observation
    assert latest is not None
    assert latest.metadata["end_offset"].value == 5
    assert latest.metadata["dagster/row_count"].value == 5
    per_minute = latest.metadata["records_per_minute"].value
    assert isinstance(per_minute, float)
    assert per_minute > 0
