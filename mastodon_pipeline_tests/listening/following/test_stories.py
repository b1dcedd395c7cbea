"""Random stories of one server and its listeners: whatever the order of events, no toot is lost.

A seed is a story; each tells a different one of streams, polling or a WebSocket, of local or all
toots, of one listener or several after another.
"""

import random
import time
from functools import partial
from typing import Any

import pytest

from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)
from mastodon_pipeline_tests.support.scene import (
    POLLED,
    STREAMED,
    Scene,
    listening_to,
    quiet,
    recorded,
    repeated,
)

pytestmark = pytest.mark.thorough

KINDS = (
    ServerPolicy("all.example", thump_seconds=0.1),
    ServerPolicy("allpolled.example", token=False),
    STREAMED,
    POLLED,
    gotosocial("social.example"),
)
SOON: dict[str, Any] = {"reset": "iso", "reset_seconds": 0.2, "seconds": 0.3}


@pytest.mark.parametrize("seed", range(5))
def test_no_story_loses_a_toot(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the server still lists in the end is recorded; by one listener never twice.

    A listener that is stopped while it fills a gap leaves its position before the gap: the next
    one may record again what was streamed meanwhile.
    """
    story = random.Random(seed)
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
                wait_until(partial(followed, scene), "the server")
                if listener < 2:
                    for _ in range(story.randint(3, 8)):
                        happen(scene, story, everything)
                else:
                    heard = {uri for sink in sinks for uri in recorded(sink)}
                    scene.wait_for_toots([*listed(simulator, policy) - heard])
        assert listed(simulator, policy) == {uri for sink in sinks for uri in recorded(sink)}
    assert [repeated(sink.uris()) for sink in sinks] == [{}, {}, {}]


def happen(scene: Scene, story: random.Random, everything: bool) -> None:
    """Something happens to the server."""
    simulator = scene.simulator
    match story.choice(
        ("publish", "publish", "fetch", "cut", "end", "restart", "503", "429", "die")
    ):
        case "publish":
            for _ in range(story.choice((1, 5, 41, 90))):
                simulator.publish()
        case "fetch" if everything:
            simulator.fetch_late(0, 1, seconds_ago=story.randint(30, 540))
        case "cut" | "end" as kind:
            simulator.fault(kind)
        case "restart":
            simulator.fault("restart", seconds=story.uniform(0.05, 0.3))
        case "503":
            simulator.fault("answer", status=503, endpoint="timeline", **SOON)
        case "429":
            simulator.fault("answer", status=429, **SOON)
        case "die":
            simulator.fault("silence")
            simulator.publish()
            simulator.fault("cut")
            simulator.fault("speak")
    time.sleep(story.choice((0.0, 0.01, 0.1, 0.3)))


def followed(scene: Scene) -> bool:
    """The server is being listened to, one way or another."""
    return scene.of().state in ("streaming", "polling", "websocket")


def listed(simulator: Simulator, policy: ServerPolicy) -> set[str]:
    """The uris of all toots that the server lists."""
    return {toot.uri for toot in simulator.truth() if policy.domain in toot.listed}
