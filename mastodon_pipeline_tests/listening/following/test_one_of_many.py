"""What one server does, or brings to light in our code, costs that server alone."""

from dataclasses import replace
from typing import Any

import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.follower import ServerFollower
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.servers import Server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.simulated_servers import POLLED, STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

ODD = replace(STREAMED, domain="odd.example")


class BrokenPositions(MemoryPositions):
    """Cannot write the position of one feed."""

    def __init__(self, broken: str) -> None:
        super().__init__()
        self.broken = broken
        self.attempts = 0

    def write(self, key: str, position: SavedPosition) -> None:
        if self.broken in key:
            self.attempts += 1
            raise UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")
        super().write(key, position)


@pytest.mark.parametrize("version", ["4.5 \ud800", "\x1b]0;4.5\a\n", "4" * 100_000])
def test_odd_self_description_is_saved_cleanly(
    version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shows G6."""
    positions = MemoryPositions()
    with Simulator(quiet(replace(ODD, version=version), STREAMED, POLLED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            for server in range(3):
                scene.receive_toot(server)
        assert len(positions.last_ids) == 3
    versions = [saved.instance.version for saved in positions.positions.values() if saved.instance]
    assert all(version.isprintable() and len(version) <= 100 for version in versions)


def test_position_that_cannot_be_saved_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is tried again. Shows G6."""
    with Simulator(quiet(ODD, STREAMED)) as simulator:
        port = str(simulator.servers[0].port)
        positions = BrokenPositions(port)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.receive_toot(0)
            scene.receive_toot(1)
            wait_until(lambda: positions.attempts >= 2, "two attempts")
            scene.receive_toot(0)
            scene.receive_toot(1)
        assert len(positions.last_ids) == 1


def test_follower_that_fails_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of ours that one server brings to light does not end the listener. Shows G6."""
    run = ServerFollower.run
    failures: list[Server] = []

    async def run_failing_twice(self: ServerFollower) -> Any:
        if len(failures) == 2:
            return await run(self)
        failures.append(self.server)
        raise RuntimeError("a defect")

    monkeypatch.setattr(ServerFollower, "run", run_failing_twice)
    with Simulator(quiet(ODD)) as simulator, listening_to(simulator, monkeypatch) as scene:
        scene.receive_toot(0)
    assert len(failures) == 2
