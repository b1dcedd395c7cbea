"""A server that does not describe itself, or badly, is followed all the same."""

from dataclasses import replace
from typing import Any

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.servers import table
from mastodon_pipeline.listening.following.trial import try_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import FAST, listening_to
from mastodon_pipeline_tests.support.simulated_servers import (
    POLLED,
    STREAMED,
    inject_faults,
    quiet,
    simulator_settings,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

NESTED = "[" * 100_000 + "]" * 100_000
FAILURES: list[dict[str, Any]] = [
    {"kind": "garbage"},
    *({"kind": "answer", "status": status} for status in (404, 405, 500, 502, 503)),
    {"kind": "wall", "status": 403},
    *({"kind": "json", "text": text} for text in ("[]", "{}", '"x"', "7", "", NESTED)),
    {"kind": "json", "text": '{"error": "no"}'},
    {"kind": "hang_up"},
]


def policies(policy: ServerPolicy, count: int) -> list[ServerPolicy]:
    return [replace(policy, domain=f"server{number}.example") for number in range(count)]


def test_older_api_describes_a_server_whose_newer_one_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the newer one answers with a page, an error, or something else. Shows G6."""
    failures = [f for f in FAILURES if f["kind"] not in ("wall", "hang_up")]
    with Simulator(quiet(*policies(POLLED, len(failures)))) as simulator:
        faults = [{"endpoint": "instance", "path": "/api/v2/", **each} for each in failures]
        for server, fault in enumerate(faults):
            simulator.fault(fault.pop("kind"), server, seconds=3600, **fault)
        with listening_to(simulator, monkeypatch) as scene:
            for server in range(len(failures)):
                assert scene.wait_for("polling", server=server) == "there is no token"
                scene.receive_toot(server)
        assert {record.server for record in scene.sink.records} == {
            server.domain for server in simulator.servers
        }


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_server_that_does_not_describe_itself_is_followed(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it would say is assumed, and that is said. Shows G1 and G6."""
    positions = MemoryPositions()
    with Simulator(quiet(*policies(policy, len(FAILURES)))) as simulator:
        for server, fault in enumerate(FAILURES):
            details = {key: value for key, value in fault.items() if key != "kind"}
            simulator.fault(fault["kind"], server, seconds=3600, endpoint="instance", **details)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            for server in range(len(FAILURES)):
                state = "streaming" if policy.token else "polling"
                scene.wait_for(state, "does not describe itself", server=server)
                scene.receive_toot(server)
                assert scene.requests("instance", server) <= 4
        assert all(saved.instance is None for saved in positions.positions.values())


def test_description_counts_once_it_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    timings = replace(FAST, fresh_seconds=0.3)
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", status=500, endpoint="instance", seconds=3600)
        with listening_to(simulator, monkeypatch, timings=timings) as scene:
            scene.wait_for("polling", "does not describe itself (the server answers 500")
            scene.receive_toot()
            simulator.fault("clear")
            wait_until(
                lambda: scene.statistics().reason == "there is no token", "the description is read"
            )
            scene.receive_toot()


def test_servers_shows_a_server_that_does_not_describe_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With how it will be followed."""
    with Simulator(quiet(POLLED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        inject_faults(simulator, [{"endpoint": "instance"}], "garbage")
        trial = try_server(settings.servers()[0], settings, None)
    line = table([trial])[1]
    assert "polling" in line
    assert "does not describe itself" in line


def test_pause_that_a_description_asks_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the whole host's. Shows G7."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault(
            "answer",
            status=503,
            endpoint="instance",
            reset="retry_after",
            reset_seconds=30,
            seconds=60,
        )
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "503")
            assert scene.requests("timeline") == 0


def test_domain_that_was_described_once_stays_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever fails later, and after the server was parked: its authors' home server is the same.

    Shows G6.
    """
    timings = replace(FAST, fresh_seconds=0.2, parked_seconds=0.3)
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        scene.receive_toot()
        simulator.fault("answer", status=404, seconds=3600)
        simulator.fault("cut")
        scene.wait_for("parked")
        simulator.fault("clear")
        simulator.fault("answer", status=500, endpoint="instance", seconds=3600)
        scene.receive_toot()
        assert {record.server for record in scene.sink.records} == {STREAMED.domain}
