"""What could not be read is told and kept; a server's new rules are found out and followed."""

import random
import threading
import time
from collections import Counter
from functools import partial

import pytest

from infra.simulator.content import Writer
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.client.pacing import Timings
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, wait_until
from mastodon_pipeline_tests.support.scene import Scene, listening_to, quiet

pytestmark = pytest.mark.thorough

STREAMED = ServerPolicy("stream.example")
POLLED = ServerPolicy("poll.example", token=False)
CURIOUS = Timings(request_seconds=2, silence_seconds=30, info_max_age_seconds=0.5)
"""Asks every half second what it would ask every hour."""


def reconnected(scene: Scene, times: int) -> bool:
    return scene.of().reconnects == times


def connected(scene: Scene) -> None:
    scene.wait_for("streaming")
    wait_until(lambda: scene.of().gaps_filled > 0, "the first pages of the timeline")


def test_a_gap_that_cannot_be_filled_is_told_and_survives_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From which toot to which, when, and why."""
    began = int(time.time() * 1000)
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            connected(scene)
            first = scene.hears()
            simulator.fault("answer", endpoint="timeline", status=422, seconds=60)
            simulator.fault("drop", endpoint="streaming", seconds=0.5)
            simulator.fault("cut")
            missed = simulator.publish()
            wait_until(lambda: scene.of().gaps_lost == 1, "the gap to be given up")
            ids = {record.uri: record.status_id for record in scene.sink.records}
            [gap] = scene.of().unfilled_gaps
            assert gap.after_id == ids[first]
            assert "422" in gap.reason
            assert began <= (gap.from_ms or 0) <= (gap.to_ms or 0) <= gap.found_at_ms
            assert scene.of().open_gaps == 0
            last = scene.hears()
            assert missed not in scene.sink.uris()
        assert list(positions.kept.values()) == [
            record.status_id for record in scene.sink.records if record.uri == last
        ], "it goes on behind the gap"
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            assert scene.of().unfilled_gaps == (gap,)
            assert scene.of().gaps_lost == 0, "of this listener's own"


def test_a_feed_that_was_never_read_has_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published before anybody wanted it is not missing."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", endpoint="timeline", status=422, seconds=60)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("streaming")
            wait_until(lambda: scene.asked("timeline") > 0, "the refusal")
            scene.hears()
            assert not scene.of().unfilled_gaps


def test_a_polled_server_is_streamed_once_there_is_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is lost or told twice when the way changes."""
    with Simulator(quiet(STREAMED)) as simulator:
        [(variable, token)] = [
            item for item in simulator.environment.items() if item[0].startswith("MASTODON_TOKEN")
        ]
        with listening_to(simulator, monkeypatch, timings=CURIOUS) as scene:
            connected(scene)
            monkeypatch.delenv(variable)
            simulator.fault("end")
            scene.wait_for("polling", "no token")
            polled = scene.hears()
            monkeypatch.setenv(variable, token)
            connected(scene)
            streamed = scene.hears()
        assert Counter(scene.sink.uris()) == Counter([polled, streamed])
        sources = {record.uri: record.source for record in scene.sink.records}
        assert (sources[polled], sources[streamed]) == ("poll", "stream")


def test_a_healthy_stream_is_left_when_the_server_switches_its_feed_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would stay open and silent: only asking again tells."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=CURIOUS) as scene,
    ):
        connected(scene)
        server = simulator.servers[0]
        off = ServerPolicy("stream.example", local_feed="disabled")
        simulator.call(lambda: setattr(server, "policy", off))
        scene.wait_for("parked", "disabled its local feed", seconds=20)
        assert scene.asked("streaming") == 1, "while nothing changed, the stream stayed"


def test_a_restarted_listener_connects_by_what_it_remembers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand answers need not be had again before the first stream is open."""
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            connected(scene)
        [kept] = positions.positions.values()
        assert kept.instance is not None
        assert kept.instance.domain == "stream.example"
        simulator.fault("answer", endpoint="instance", status=503, seconds=60)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            connected(scene)
            uri = scene.hears()
            [record] = [r for r in scene.sink.records if r.uri == uri]
            assert record.server == "stream.example", "its domain is not its host"


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_a_server_whose_account_of_itself_is_down_is_listened_to_all_the_same(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it said before still leads to its stream, or its timeline."""
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch, timings=CURIOUS) as scene,
    ):
        scene.wait_for("streaming" if policy.token else "polling")
        simulator.fault("answer", endpoint="instance", status=503, seconds=60)
        before = scene.asked("instance")
        wait_until(lambda: scene.asked("instance") > before, "the next question")
        simulator.fault("end")
        scene.hears()
        assert scene.of().state in ("streaming", "polling")


def test_a_toot_that_was_fetched_late_is_met_between_two_polls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its id is of its post time, below what was read: the overlap is read again now and then."""
    timings = Timings(request_seconds=2, overlap_reread_seconds=0.5)
    with (
        Simulator(quiet(POLLED, ServerPolicy("home.example", token=False))) as simulator,
        listening_to(
            simulator,
            monkeypatch,
            feeds=("public",),
            only=[0],
            timings=timings,
        ) as scene,
    ):
        scene.wait_for("polling")
        known = scene.hears("poll.example")
        [observer, home] = simulator.servers
        plan = simulator.fediverse.plan
        writer = Writer(plan.authors, random.Random(7), number_from=7_000_000)
        now = int(time.time() * 1000)
        late = writer.toot(home.domain, now - 300_000)
        status_id = plan.ids[observer.domain].backdated(late.created_at)
        assert simulator.call(lambda: observer.publish(late, status_id, now))
        scene.wait_for_toots([late.uri])
        assert Counter(scene.sink.uris()) == Counter([known, late.uri]), "and nothing else again"


def test_what_stream_and_timeline_both_bring_is_recorded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right after connecting, a toot may come by both, in either order."""
    with Simulator(quiet(STREAMED)) as simulator:
        published: list[str] = []
        done = threading.Event()

        def publish() -> None:
            while not done.wait(0.005) and len(published) < 2000:
                published.append(simulator.publish())

        talking = threading.Thread(target=publish)
        with listening_to(simulator, monkeypatch, timings=Timings()) as scene:
            connected(scene)
            talking.start()
            try:
                for cuts in range(1, 6):
                    simulator.fault("cut")
                    wait_until(partial(reconnected, scene, cuts), "the stream again")
            finally:
                done.set()
                talking.join()
            scene.wait_for_toots(published)
            wait_until(lambda: scene.of().open_gaps == 0, "the gaps' ends")
        assert Counter(scene.sink.uris()) == Counter(published)
        assert {record.source for record in scene.sink.records} == {"stream", "gap"}
