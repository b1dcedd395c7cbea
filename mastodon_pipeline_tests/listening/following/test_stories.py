"""Random sequences of faults of one server and its listeners: in any order, no toot is lost.

A seed is a sequence; each has another mode (stream, polling, WebSocket) and feed (local or all
toots), and successive listeners, some stopped and some killed. The weather is ordinary:
events come late and out of order, rows of GoToSocial too.
"""

import os
import random
import time
from dataclasses import replace
from typing import Any

import pytest

from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, MortalSink
from mastodon_pipeline_tests.support.scene import FAST, Scene, duplicates, listening_to, recorded
from mastodon_pipeline_tests.support.simulated_servers import POLLED, STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

STORIES = int(os.environ.get("STORIES", "10"))
KINDS = (
    ServerPolicy("all.example", thump_seconds=0.1),
    ServerPolicy("allpolled.example", token=False),
    STREAMED,
    POLLED,
    gotosocial("social.example"),
)
SHORT: dict[str, Any] = {"reset": "iso", "reset_seconds": 0.2, "seconds": 0.3}
TIMINGS = replace(
    FAST,
    compare_seconds=1.0,
    silence_check_seconds=1.0,
    late_event_seconds=0.5,
    gap_refusal_seconds=60.0,
    overlap_reread_seconds=1.0,
)
LISTENERS = 4


@pytest.mark.parametrize("seed", range(STORIES))
def test_random_faults_lose_no_toot(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything the server lists in the end is recorded, and no loss is reported.

    A listener records a toot once; one that resumes from the position before it may record again
    what is in the overlap. Shows G1.
    """
    choices = random.Random(seed)
    policy = KINDS[seed % len(KINDS)]
    everything = policy.remote_feed == "public" and policy.software == "mastodon"
    positions = MemoryPositions()
    sinks: list[MortalSink] = []
    with Simulator(quiet(policy, ServerPolicy("home.example", token=False))) as simulator:
        for listener in range(LISTENERS):
            positions.frozen = False
            sinks.append(MortalSink(positions))
            with listening_to(
                simulator,
                monkeypatch,
                feeds=("public" if everything else "local",),
                only=[0],
                positions=positions,
                sink=sinks[-1],
                timings=TIMINGS,
            ) as scene:
                wait_until(scene.is_followed, lambda: scene.statistics().snapshot().line())
                if listener < LISTENERS - 1:
                    for _ in range(choices.randint(3, 8)):
                        cause_event(scene, choices, everything)
                    if choices.random() < 0.5:
                        sinks[-1].kill()
                else:
                    simulator.fault("clear")
                    known = {uri for sink in sinks for uri in recorded(sink)}
                    scene.wait_for_toots([*listed(simulator, policy) - known])
            assert scene.statistics().gaps_lost == 0
            simulator.wait_until(lambda: len(simulator.servers[0].streams) == 0)
        assert listed(simulator, policy) == {uri for sink in sinks for uri in recorded(sink)}
    assert [duplicates(sink.uris()) for sink in sinks] == [{}] * LISTENERS


def cause_event(scene: Scene, choices: random.Random, everything: bool) -> None:
    """Make the server publish, or inject a fault."""
    simulator = scene.simulator
    match choices.choice(
        (
            *("publish", "publish", "publish", "fetch", "cut", "end", "restart", "503", "429"),
            *("die", "unsubscribe", "wall", "trickle"),
        )
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
        case "wall":
            simulator.fault("wall", status=403, endpoint="timeline", seconds=0.3)
        case "trickle":
            simulator.fault("trickle", endpoint="timeline", seconds=0.3)
        case "die":
            simulator.fault("silence")
            simulator.publish()
            simulator.fault("cut")
            simulator.fault("speak")
        case "unsubscribe":
            simulator.fault("unsubscribe")
            for _ in range(choices.choice((1, 5, 41))):
                simulator.publish()
            time.sleep(choices.choice((0.0, 0.2)))
            simulator.fault("subscribe")
    time.sleep(choices.choice((0.0, 0.01, 0.1, 0.3)))


def listed(simulator: Simulator, policy: ServerPolicy) -> set[str]:
    """Return the uris of all toots that the server lists."""
    return {toot.uri for toot in simulator.truth() if policy.domain in toot.listed}
