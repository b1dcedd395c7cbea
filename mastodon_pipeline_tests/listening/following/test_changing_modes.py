"""Unreadable gaps are reported and saved; a server's new rules are noticed and followed."""

import random
import threading
import time
from collections import Counter
from dataclasses import replace
from functools import partial

import pytest

from infra.simulator.content import Writer
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.servers import table
from mastodon_pipeline.listening.client.pacing import Timings
from mastodon_pipeline.listening.following.trial import try_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import FAST, STEADY, Scene, duplicates, listening_to
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

STREAMED = ServerPolicy("stream.example", thump_seconds=0.1)
POLLED = ServerPolicy("poll.example", token=False)
FREQUENT = Timings(
    request_seconds=2, silence_seconds=30, info_max_age_seconds=0.5, gap_refusal_seconds=0
)
"""Fetches instance info every half second instead of every hour."""


def test_unfillable_gap_is_reported_and_survives_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From which toot to which, when, and why. Shows G3."""
    began = int(time.time() * 1000)
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_until_connected()
            first = scene.receive_toot()
            simulator.fault("answer", endpoint="timeline", status=422, seconds=3600)
            simulator.fault("drop", endpoint="streaming", seconds=0.5)
            simulator.fault("cut")
            missed = simulator.publish()
            wait_until(lambda: scene.statistics().gaps_lost == 1, "the gap to be given up")
            ids = {record.uri: record.status_id for record in scene.sink.records}
            [gap] = scene.statistics().unfilled_gaps
            assert gap.after_id == ids[first]
            assert "422" in gap.reason
            assert began <= (gap.from_ms or 0) <= (gap.to_ms or 0) <= gap.found_at_ms
            assert scene.statistics().open_gaps == 0
            last = scene.receive_toot()
            assert missed not in scene.sink.uris()
        assert list(positions.last_ids.values()) == [
            record.status_id for record in scene.sink.records if record.uri == last
        ], "it resumes after the gap"
        simulator.fault("clear")  # of the next listener's own gap
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            assert scene.statistics().unfilled_gaps == (gap,)
            assert scene.statistics().gaps_lost == 0, "by this listener"


def test_feed_that_was_never_read_has_no_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published before the feed was wanted is not missing."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", endpoint="timeline", status=422, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("streaming")
            wait_until(lambda: scene.requests("timeline") > 0, "the refusal")
            scene.receive_toot()
            assert not scene.statistics().unfilled_gaps


def test_polled_server_is_streamed_once_there_is_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nothing is lost or recorded twice when the mode changes."""
    with Simulator(quiet(STREAMED)) as simulator:
        [(variable, token)] = [
            item for item in simulator.environment.items() if item[0].startswith("MASTODON_TOKEN")
        ]
        with listening_to(simulator, monkeypatch, timings=FREQUENT) as scene:
            scene.wait_until_connected()
            monkeypatch.delenv(variable)
            simulator.fault("end")
            scene.wait_for("polling", "no token")
            polled = scene.receive_toot()
            monkeypatch.setenv(variable, token)
            scene.wait_until_connected()
            streamed = scene.receive_toot()
        assert Counter(scene.sink.uris()) == Counter([polled, streamed])
        sources = {record.uri: record.source for record in scene.sink.records}
        assert sources[polled] == "poll"
        # What comes while the stream opens may be read with the gap before it.
        assert sources[streamed] in ("stream", "gap")


def test_healthy_stream_is_closed_when_the_server_disables_its_feed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would stay open and silent: only fetching the instance info again shows it."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=FREQUENT) as scene,
    ):
        scene.wait_until_connected()
        server = simulator.servers[0]
        disabled = ServerPolicy("stream.example", local_feed="disabled")
        simulator.call(lambda: setattr(server, "policy", disabled))
        scene.wait_for("parked", "disabled its local feed")
        assert scene.requests("streaming") == 1, "the stream stayed open while nothing changed"


def test_restarted_listener_connects_by_saved_instance_info(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A thousand servers need not answer again before the first stream is open."""
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_until_connected()
        [saved] = positions.positions.values()
        assert saved.instance is not None
        assert saved.instance.domain == "stream.example"
        simulator.fault("answer", endpoint="instance", status=503, seconds=3600)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_until_connected()
            uri = scene.receive_toot()
            [record] = [r for r in scene.sink.records if r.uri == uri]
            assert record.server == "stream.example", "its domain, not its host"


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_server_without_current_instance_info_is_still_followed(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The earlier info still leads to its stream or timeline."""
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch, timings=FREQUENT) as scene,
    ):
        scene.wait_for("streaming" if policy.token else "polling")
        simulator.fault("answer", endpoint="instance", status=503, seconds=3600)
        before = scene.requests("instance")
        wait_until(lambda: scene.requests("instance") > before, "the next request")
        simulator.fault("end")
        scene.receive_toot()
        assert scene.statistics().state in ("streaming", "polling")


def test_toot_that_was_fetched_late_is_polled_with_the_overlap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its id has its post time, below what was read: the overlap is read again regularly."""
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
        known = scene.receive_toot("poll.example")
        [observer, home] = simulator.servers
        plan = simulator.fediverse.plan
        writer = Writer(plan.authors, random.Random(7), number_from=7_000_000)
        now = int(time.time() * 1000)
        late = writer.toot(home.domain, now - 300_000)
        status_id = plan.ids[observer.domain].backdated(late.created_at)
        assert simulator.call(lambda: observer.publish(late, status_id, now))
        scene.wait_for_toots([late.uri])
        assert Counter(scene.sink.uris()) == Counter([known, late.uri]), "and nothing else twice"


def has_reconnected(scene: Scene, times: int) -> bool:
    return scene.statistics().reconnects == times


def test_toot_from_stream_and_timeline_is_recorded_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Right after connecting, a toot may come from both, in either order."""
    with Simulator(quiet(STREAMED)) as simulator:
        published: list[str] = []
        done = threading.Event()

        def publish() -> None:
            while not done.wait(0.005) and len(published) < 2000:
                published.append(simulator.publish())

        publishing = threading.Thread(target=publish)
        with listening_to(simulator, monkeypatch, timings=Timings()) as scene:
            scene.wait_until_connected()
            publishing.start()
            try:
                for cuts in range(1, 6):
                    simulator.fault("cut")
                    wait_until(partial(has_reconnected, scene, cuts), "the stream again")
            finally:
                done.set()
                publishing.join()
            scene.wait_for_toots(published)
            wait_until(lambda: scene.statistics().open_gaps == 0, "the ends of the gaps")
        assert Counter(scene.sink.uris()) == Counter(published)
        assert {record.source for record in scene.sink.records} == {"stream", "gap"}


@pytest.mark.parametrize("status", [500, 502, 503])
def test_stream_that_cannot_be_opened_is_polled_until_it_can(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken streaming server is no reason to hear nothing: its timeline answers. Shows G1."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, backoff=STEADY) as scene,
    ):
        scene.wait_until_connected()
        first = scene.receive_toot()
        simulator.fault("answer", endpoint="streaming", status=status, seconds=3600)
        simulator.fault("cut")
        missed = [simulator.publish() for _ in range(3)]
        scene.wait_for_toots([first, *missed])
        scene.wait_for("polling")
        assert str(status) in scene.statistics().reason
        simulator.fault("clear")
        scene.wait_for("streaming")
        scene.receive_toot()
        assert duplicates(scene.sink.uris()) == {}


def test_listener_that_starts_behind_a_bot_wall_says_so_and_waits_for_it_to_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not parked for an hour: walls come and go within minutes. Shows G6."""
    with Simulator(quiet(POLLED, STREAMED)) as simulator:
        for server, endpoint in enumerate(("timeline", "")):  # or before all of it
            simulator.fault("wall", server, endpoint=endpoint, status=403, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            for server in range(2):
                scene.wait_for("waiting", "a bot wall stands before it", server=server)
                simulator.fault("clear", server)
                scene.receive_toot(server)


def test_gap_behind_a_bot_wall_is_filled_once_the_wall_lets_us_pass(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page for people with a 403 is not the application's refusal. Shows G1."""
    timings = replace(FAST, gap_refusal_seconds=60)
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        scene.wait_until_connected()
        first = scene.receive_toot()
        simulator.fault("wall", endpoint="timeline", status=403, seconds=2)
        simulator.fault("restart", seconds=0.3)
        missed = [simulator.publish() for _ in range(3)]
        scene.wait_for_toots([first, *missed])
        assert scene.statistics().unfilled_gaps == ()


@pytest.mark.parametrize("token", [True, False], ids=["streamed", "polled"])
def test_public_feed_of_a_server_without_a_remote_one_is_its_local_toots(
    token: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not parked as a whole, and its state says what is left out. Shows G1."""
    policy = replace(STREAMED, token=token, remote_feed="disabled")
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch, feeds=("public",)) as scene,
    ):
        scene.wait_for("streaming" if token else "polling", "only its local toots are read")
        scene.receive_toot()
        trial = try_server(
            scene.statistics().server, simulator_settings(simulator, monkeypatch), None
        )
        assert "disabled its remote feed" in table([trial])[1]
