"""An open stream that loses events is found out by its timeline."""

from dataclasses import replace

import pytest

from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.scene import FAST, duplicates, listening_to, pauses
from mastodon_pipeline_tests.support.simulated_servers import STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

SOCIAL = replace(gotosocial("social.example"), thump_seconds=0.1)
TIMINGS = replace(FAST, compare_seconds=0.5, silence_check_seconds=0.3, late_event_seconds=0)


@pytest.mark.parametrize("policy", [STREAMED, SOCIAL], ids=lambda policy: policy.domain)
def test_toots_that_an_open_stream_lost_are_read_from_the_timeline(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heartbeats go on, so nothing else shows that the subscription is lost. Shows G1."""
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch, timings=TIMINGS) as scene,
    ):
        known = [scene.receive_toot() for _ in range(3)]
        simulator.fault("unsubscribe")
        lost = [simulator.publish() for _ in range(60)]
        scene.wait_for_toots([*known, *lost])
        simulator.fault("subscribe")
        wait_until(lambda: scene.statistics().lost_by_streams, "the loss counted")
        wait_until(lambda: scene.statistics().reconnects, "the stream opened again")
        later = [scene.receive_toot() for _ in range(3)]
        assert duplicates(scene.sink.uris()) == {}
    assert set(scene.sink.uris()) == {*known, *lost, *later}


def test_healthy_stream_is_compared_without_being_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A silent server is asked ever less often, and older toots are not recorded."""
    with Simulator(quiet(STREAMED)) as simulator:
        for _ in range(3):
            simulator.publish()
        timings = replace(TIMINGS, compare_seconds=60.0)
        with listening_to(simulator, monkeypatch, timings=timings) as scene:
            scene.wait_until_connected()
            scene.receive_toot()
            recorded = list(scene.sink.uris())
            requests = scene.requests("timeline")
            wait_until(lambda: scene.requests("timeline") >= requests + 3, "three comparisons")
            second, third = pauses(scene.request_times("timeline"))[requests : requests + 2]
            assert second >= 2 * TIMINGS.silence_check_seconds
            assert third >= 4 * TIMINGS.silence_check_seconds
            assert scene.sink.uris() == recorded
            assert scene.statistics().reconnects == 0
            assert scene.statistics().lost_by_streams == 0
