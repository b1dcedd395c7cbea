"""A run that is cut off from Dagster's storage lets its servers go before another takes over."""

import math
import time
from threading import Event

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE
from mastodon_pipeline.listening.supervising.lease import LEASE_SECONDS, Lease, lease_seconds
from mastodon_pipeline.listening.supervising.rules import STALE_HEARTBEAT_SECONDS
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import listening
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until


def nothing() -> None:
    """Nothing to resume."""


def test_lease_ends_before_another_run_could_take_over() -> None:
    """With time to disconnect. Shows G4."""
    assert LEASE_SECONDS + 5 <= STALE_HEARTBEAT_SECONDS


def test_only_a_database_of_several_machines_needs_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """With SQLite there is one machine."""
    monkeypatch.delenv(POSTGRES_VARIABLE, raising=False)
    assert lease_seconds() == math.inf
    monkeypatch.setenv(POSTGRES_VARIABLE, "postgresql://dagster:secret@db.example/dagster")
    assert lease_seconds() == LEASE_SECONDS


@pytest.mark.thorough
def test_lease_that_is_renewed_does_not_expire() -> None:
    """It ends with the block, not later."""
    released = Event()
    with Lease(released.set, 60) as lease:
        lease.renew(time.monotonic(), nothing)
        assert not released.wait(1.5)


def test_lease_counts_from_when_the_heartbeat_was_sent() -> None:
    """A storage that takes a minute to save it has shown it to the supervisor a minute ago."""
    released = Event()
    with Lease(released.set, 60) as lease:
        lease.renew(time.monotonic() - 61, nothing)
        assert released.wait(900)


def test_lease_stays_expired_until_listening_is_resumed() -> None:
    """Kafka may be away as well when the storage is back."""
    released, resumed = Event(), Event()

    def fail() -> None:
        raise ConnectionError

    with Lease(released.set, 60) as lease:
        lease.renew(time.monotonic() - 61, nothing)
        assert released.wait(900)
        with pytest.raises(ConnectionError):
            lease.renew(time.monotonic(), fail)
        lease.renew(time.monotonic(), resumed.set)
        assert resumed.is_set()


@pytest.mark.thorough
def test_servers_that_were_let_go_are_followed_again_without_a_loss(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What they publish meanwhile is read from their timelines. Shows G4."""
    sink = RecordingSink()
    with Simulator(quiet(ServerPolicy("one.example"), ServerPolicy("two.example"))) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        servers = [parse_server(server.base_url) for server in simulator.servers]
        streams = [server.streams for server in simulator.servers]
        with (
            listening(settings, sink, MemoryPositions(), servers) as listener,
            Lease(listener.release_servers, 3600) as lease,
        ):
            simulator.wait_until(lambda: all(len(each) == 1 for each in streams))
            published = [simulator.publish(number) for number in (0, 1) for _ in range(5)]
            wait_until(lambda: set(sink.uris()) == set(published), "the toots before the cut")
            lease.renew(time.monotonic() - 3601, nothing)
            simulator.wait_until(lambda: not any(streams))
            published += [simulator.publish(number) for number in (0, 1) for _ in range(60)]
            lease.renew(time.monotonic(), lambda: listener.change_servers(servers))
            simulator.wait_until(lambda: all(len(each) == 1 for each in streams))
            published += [simulator.publish(number) for number in (0, 1) for _ in range(5)]
            wait_until(lambda: set(sink.uris()) == set(published), "every toot")
