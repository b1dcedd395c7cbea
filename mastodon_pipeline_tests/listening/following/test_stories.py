"""Random sequences of faults of one server and its listeners: in any order, no toot is lost.

A seed is a sequence; each has another mode (stream, polling, WebSocket) and feed (local or all
toots), and three successive listeners.
"""

import random
import time
from typing import Any

import pytest

from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
)
from mastodon_pipeline_tests.support.scene import Scene, duplicates, listening_to, recorded
from mastodon_pipeline_tests.support.simulated_servers import POLLED, STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

KINDS = (
    ServerPolicy("all.example", thump_seconds=0.1),
    ServerPolicy("allpolled.example", token=False),
    STREAMED,
    POLLED,
    gotosocial("social.example"),
)
SHORT: dict[str, Any] = {"reset": "iso", "reset_seconds": 0.2, "seconds": 0.3}


@pytest.mark.parametrize("seed", range(5))
def test_random_faults_lose_no_toot(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the server lists in the end is recorded, and by each listener only once.

    A listener that is stopped while it fills a gap leaves its position before the gap: the next
    one may record again what was streamed meanwhile. Shows G1.
    """
    choices = random.Random(seed)
    policy = KINDS[seed % len(KINDS)]
    everything = policy.remote_feed == "public" and policy.software == "mastodon"
    positions = MemoryPositions()
    sinks: list[RecordingSink] = []
    with Simulator(quiet(policy, ServerPolicy("home.example", token=False))) as simulator:
        for listener in range(3):
            with listening_to(
                simulator,
                monkeypatch,
                feeds=("public" if everything else "local",),
                only=[0],
                positions=positions,
            ) as scene:
                sinks.append(scene.sink)
                wait_until(scene.is_followed, "the server")
                if listener < 2:
                    for _ in range(choices.randint(3, 8)):
                        cause_event(scene, choices, everything)
                else:
                    known = {uri for sink in sinks for uri in recorded(sink)}
                    scene.wait_for_toots([*listed(simulator, policy) - known])
        assert listed(simulator, policy) == {uri for sink in sinks for uri in recorded(sink)}
    assert [duplicates(sink.uris()) for sink in sinks] == [{}, {}, {}]


def cause_event(scene: Scene, choices: random.Random, everything: bool) -> None:
    """Make the server publish, or inject a fault."""
    simulator = scene.simulator
    match choices.choice(
        ("publish", "publish", "fetch", "cut", "end", "restart", "503", "429", "die")
    ):
        case "publish":
            for _ in range(choices.choice((1, 5, 41, 90))):
                simulator.publish()
        case "fetch" if everything:
            simulator.fetch_late(0, 1, seconds_ago=choices.randint(30, 540))
        case "cut" | "end" as kind:
            simulator.fault(kind)
        case "restart":
            simulator.fault("restart", seconds=choices.uniform(0.05, 0.3))
        case "503":
            simulator.fault("answer", status=503, endpoint="timeline", **SHORT)
        case "429":
            simulator.fault("answer", status=429, **SHORT)
        case "die":
            simulator.fault("silence")
            simulator.publish()
            simulator.fault("cut")
            simulator.fault("speak")
    time.sleep(choices.choice((0.0, 0.01, 0.1, 0.3)))


def listed(simulator: Simulator, policy: ServerPolicy) -> set[str]:
    """Return the uris of all toots that the server lists."""
    return {toot.uri for toot in simulator.truth() if policy.domain in toot.listed}
