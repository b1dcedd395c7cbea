"""Listeners of three groups on three hosts, of which one is cut off from the network.

The hosts' clocks differ by a minute. Dagster's storage is a PostgreSQL server outside of them, and
so is what stands for its daemon: it does what `listener_supervisor` decides.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import dagster as dg
import pytest

from infra.native_stack import Stack
from infra.native_stack.pipeline_programs import instance_configuration
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, with_driver
from mastodon_pipeline.listening.sensors import supervise
from mastodon_pipeline.listening.supervising.groups import group_names, spread
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.runs import GROUP_TAG, listener_runs
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.hosts import Host, three_hosts
from mastodon_pipeline_tests.support.kafka_topics import new_toots, with_new_topics
from mastodon_pipeline_tests.support.postgres import postgres_server
from mastodon_pipeline_tests.support.simulated_servers import simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.takeover]
SERVERS = 9
GROUPS = group_names(3)
TICK_SECONDS = 5.0
RECOVERY_SECONDS = 60.0
"""Within this time every server is listened to again."""
JOB = (
    *("dagster", "job", "execute", "-j", "mastodon_listener"),
    *("-m", "mastodon_pipeline.listening.definitions"),
)


class Listeners:
    """Starts runs as the supervisor wants them: a group's first on its host, others elsewhere."""

    def __init__(self, instance: dg.DagsterInstance, settings: Settings, hosts: list[Host]) -> None:
        self.hosts = dict(zip(GROUPS, hosts, strict=True))
        """By group, where its run is."""
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        """By group, its latest run."""
        self.lost: set[Host] = set()
        """Where nothing can be started."""
        self._instance = instance
        self._settings = settings
        self._observer = RunObserver()
        self._ticked_at = float("-inf")
        self._runs_before = dict.fromkeys(GROUPS, -1)

    def tick(self) -> None:
        """Do what the supervisor decides, every five seconds; a run that starts is waited for."""
        if time.monotonic() - self._ticked_at < TICK_SECONDS:
            return
        self._ticked_at = time.monotonic()
        requests, lines = supervise(self._instance, self._settings, None, self._observer)
        print(*lines, sep="\n", flush=True)
        for group in [request.tags[GROUP_TAG] for request in requests]:
            runs = len(listener_runs(self._instance, group))
            if runs > self._runs_before[group]:
                self._runs_before[group] = runs
                self._start(group)

    def wait_until(self, condition: Callable[[], bool], message: str | Callable[[], str]) -> None:
        """Supervise until this is true."""

        def ticked() -> bool:
            self.tick()
            return condition()

        wait_until(ticked, message, 1200, 0.5)

    def _start(self, group: str) -> None:
        host = self.hosts[group]
        if host in self.lost:
            assert not host.open_streams, f"{host.name} still has {host.open_streams} streams"
            host = next(each for each in self.hosts.values() if each not in self.lost)
        self.hosts[group] = host
        self.processes[group] = host.run(*JOB, "--tags", json.dumps({GROUP_TAG: group}))


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("LISTENER_GROUPS", str(len(GROUPS)))
    return with_new_topics(monkeypatch, "hosts")


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """Dagster's storage in PostgreSQL."""
    (tmp_path / "dagster.yaml").write_text(instance_configuration(postgres=True))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with postgres_server() as server:
        monkeypatch.setenv(POSTGRES_VARIABLE, with_driver(server.new_database()))
        with dg.DagsterInstance.get() as instance:
            yield instance


@pytest.mark.timeout(3600)
def test_group_of_a_host_without_network_is_taken_over_and_never_listened_to_twice(
    settings: Settings,
    instance: dg.DagsterInstance,
    stack: Stack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """First a host without any network, then one that reaches its servers but not the storage.

    Shows G4.
    """
    policies = tuple(ServerPolicy(f"{number}.example") for number in range(SERVERS))
    with ExitStack() as ends:
        simulator = ends.enter_context(
            Simulator(Options(servers=policies, toots=0, start="control"))
        )
        while not all(groups(simulator, monkeypatch).get(group) for group in GROUPS):
            simulator = ends.enter_context(
                Simulator(Options(servers=policies, toots=0, start="control"))
            )
        settings = simulator_settings(simulator, monkeypatch)
        storage = urlsplit(os.environ[POSTGRES_VARIABLE]).port or 0
        ports = [
            *(stack.ports.kafka_port, stack.ports.registry_port, stack.ports.minio_port, storage),
            *(urlsplit(server.base_url).port or 0 for server in settings.servers()),
        ]
        hosts = ends.enter_context(three_hosts(tmp_path, ports))
        listeners = Listeners(instance, settings, hosts)
        listeners.wait_until(lambda: followed(simulator), "a stream of every server")
        everywhere_heard(simulator, settings, listeners)
        assert sum(host.open_streams for host in hosts) == SERVERS
        first, second, third = GROUPS

        others = [listeners.processes[first], listeners.processes[third]]
        assert_taken_over(simulator, settings, listeners, second, ())
        assert [listeners.processes[first], listeners.processes[third]] == others

        others = [listeners.processes[first], listeners.processes[second]]
        reset_stream_counts(simulator)
        assert_taken_over(simulator, settings, listeners, third, (storage,))
        assert [listeners.processes[first], listeners.processes[second]] == others
        assert most_streams_at_once(simulator) == 1


def assert_taken_over(
    simulator: Simulator,
    settings: Settings,
    listeners: Listeners,
    group: str,
    ports: tuple[int, ...],
) -> None:
    """Cut a group's host off from these ports, or from all, until its run is replaced."""
    host, process = listeners.hosts[group], listeners.processes[group]
    listeners.lost.add(host)
    cut = time.monotonic()
    host.cut(*ports)
    listeners.wait_until(lambda: listeners.processes[group] != process, "the next run")
    everywhere_heard(simulator, settings, listeners)
    seconds = time.monotonic() - cut
    print(f"{host.name}, cut off: every server is listened to after {seconds:.0f} s", flush=True)
    assert seconds < RECOVERY_SECONDS
    host.heal()
    process.wait(300)  # it sees that it was replaced
    listeners.lost.discard(host)
    everywhere_heard(simulator, settings, listeners)


def followed(simulator: Simulator) -> bool:
    """Return whether every server is streamed."""
    return simulator.call(lambda: all(len(server.streams) > 0 for server in simulator.servers))


def everywhere_heard(simulator: Simulator, settings: Settings, listeners: Listeners) -> None:
    """Publish a toot at every server, and wait until all of them are in Kafka."""
    uris = {simulator.publish(number) for number in range(SERVERS)}
    listeners.wait_until(
        lambda: uris <= new_toots(settings).keys(),
        lambda: f"{len(uris - new_toots(settings).keys())} are missing",
    )


def groups(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return the servers of each group; their ports, and so their groups, are random."""
    servers = simulator_settings(simulator, monkeypatch).servers()
    return dict(spread(servers, len(GROUPS)))


def reset_stream_counts(simulator: Simulator) -> None:
    """Start to count again how many streams are open at once at each server."""

    def reset() -> None:
        for server in simulator.servers:
            server.streams.most_at_once = 0

    simulator.call(reset)


def most_streams_at_once(simulator: Simulator) -> int:
    """Return the most streams that were open at once at any server."""
    return simulator.call(lambda: max(server.streams.most_at_once for server in simulator.servers))
