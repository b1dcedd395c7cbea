"""Servers whose robots.txt asks programs to stay away."""

from dataclasses import replace

import msgspec
import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import PastUnreadable
from mastodon_pipeline.listening.following.past import PastReading
from mastodon_pipeline.listening.following.trial import try_server
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import FAST, listening_to
from mastodon_pipeline_tests.support.simulated_servers import (
    POLLED,
    STREAMED,
    quiet,
    simulator_settings,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

NOBODY = "User-agent: *\nDisallow: /\n"
NOT_US = "User-agent: mastodon-pipeline\nDisallow: /api/v1/timelines/\n"
ORDINARY = "User-agent: *\nDisallow: /media_proxy/\nDisallow: /interact/\n"


@pytest.mark.parametrize("robots", [NOBODY, NOT_US])
@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_server_that_refuses_robots_is_parked_and_not_asked(
    monkeypatch: pytest.MonkeyPatch, policy: ServerPolicy, robots: str
) -> None:
    """Its robots.txt is all that is read, and the others go on. Shows P5 and G7."""
    refusing = replace(policy, robots=robots)
    allowing = replace(STREAMED, domain="allowing.example", robots=ORDINARY)
    with (
        Simulator(quiet(refusing, allowing)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("parked", "robots.txt", "ask its admin")
        scene.wait_until_connected(server=1)
        scene.receive_toot(server=1)
        assert simulator.asked() == 0
        assert simulator.asked("robots") == 1


def test_server_is_not_asked_while_its_robots_file_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A server error refuses everything (RFC 9309), as long as it lasts. Shows P5."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", endpoint="robots", status=503, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "503", "robots.txt", "RFC 9309")
            assert simulator.asked() == 0
            simulator.call(simulator.servers[0].faults.clear)
            scene.wait_until_connected()


def test_known_rules_count_while_the_file_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether they are a day old or not."""
    positions = MemoryPositions()
    with Simulator(quiet(POLLED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_for("polling")
        [(key, saved)] = positions.read().items()
        old = tuple(msgspec.structs.replace(rules, read_at_ms=0) for rules in saved.robots)
        assert old
        positions.write(key, type(saved)(saved.last_id, instance=saved.instance, robots=old))
        simulator.fault("answer", endpoint="robots", status=503, seconds=3600)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_for("polling")
        assert simulator.asked("robots") >= 2


def test_file_is_read_once_a_day_whatever_is_restarted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By all feeds of a host, and by the next listener. Shows P5."""
    positions = MemoryPositions()
    with Simulator(quiet(replace(STREAMED, robots=ORDINARY))) as simulator:
        for _ in range(2):
            with listening_to(
                simulator, monkeypatch, feeds=("local", "public"), positions=positions
            ) as scene:
                scene.wait_until_connected()
        assert simulator.asked("robots") == 1


def test_streams_that_the_streaming_host_refuses_are_polled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The timeline's host allows it. Shows P5."""
    policy = replace(STREAMED, streams_apart=True, streaming_robots=NOBODY)
    with Simulator(quiet(policy)) as simulator, listening_to(simulator, monkeypatch) as scene:
        scene.wait_for("polling", "robots.txt")
        scene.receive_toot()
        assert simulator.asked("streaming") == 0


def test_open_stream_ends_when_its_server_begins_to_refuse(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The file is read again once a day, here at once. Shows P5."""
    monkeypatch.setattr("mastodon_pipeline.listening.client.robots.MAX_AGE_SECONDS", 0.0)
    timings = replace(FAST, info_max_age_seconds=0.5)
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        scene.wait_until_connected()
        simulator.call(lambda: change_policy(simulator, NOBODY))
        scene.wait_for("parked", "robots.txt")
        wait_until(lambda: not len(simulator.servers[0].streams), "the stream to end")


def test_trial_says_that_the_server_refuses_robots(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `servers` and `login`. Shows P5."""
    with Simulator(quiet(replace(STREAMED, robots=NOBODY))) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        server = parse_server(simulator.servers[0].base_url)
        trial = try_server(server, settings, server.token)
        assert trial.mode is not None
        assert trial.mode.kind == "park"
        assert "robots.txt" in trial.reason
        assert simulator.asked() == 0


def test_past_of_a_server_that_refuses_robots_is_not_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shows P5."""
    with Simulator(quiet(replace(POLLED, robots=NOT_US))) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        [server] = settings.servers()
        reading = PastReading(server, 0, None, settings, RecordingSink(), MemoryPositions())
        with pytest.raises(PastUnreadable, match=r"robots\.txt"):
            reading.run()
        assert simulator.asked() == 0


def test_crawl_delay_slows_polling_down(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shows G7."""
    robots = "User-agent: *\nCrawl-delay: 100\n"
    with (
        Simulator(quiet(replace(POLLED, robots=robots))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("polling")
        budget = scene.listener._resources.budgets.for_host(simulator.servers[0].base_url)
        assert budget.delay() > 90
        assert simulator.asked("timeline") == 1


def change_policy(simulator: Simulator, robots: str) -> None:
    server = simulator.servers[0]
    server.policy = replace(server.policy, robots=robots)
