"""Listening to a simulated Fediverse: what is published is recorded, whatever happens meanwhile."""

import random
import time
from collections import Counter
from dataclasses import replace

import pytest

from infra.simulator.content import Writer
from infra.simulator.faults import MALFORMED, ODD
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from infra.simulator.weather import CALM
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Timings
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.servers import Feed
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, MortalSink
from mastodon_pipeline_tests.support.scene import duplicates, listening_to, recorded
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

STREAMED = ServerPolicy("stream.example", thump_seconds=0.1)
CLOSED = ServerPolicy(
    "closed.example", local_feed="authenticated", remote_feed="authenticated", thump_seconds=0.1
)
POLLED = ServerPolicy("poll.example", token=False)
SOCIAL = replace(gotosocial("social.example"), thump_seconds=0.1)
LOCKED = ServerPolicy("locked.example", token=False, local_feed="authenticated")
HOME = ServerPolicy("home.example")
EVERYTHING: tuple[Feed, ...] = ("public",)


def test_everything_published_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By streams and by polling, with edits and deletes; compared with the truth toot by toot.

    Shows G1.
    """
    with Simulator(Options(toots=600, hours=3, speed=5000)) as simulator:
        with listening_to(simulator, monkeypatch, timings=DEFAULT_TIMINGS) as scene:
            simulator.wait_until_done()
            truth = [toot.uri for toot in simulator.truth()]
            wait_until(lambda: set(scene.sink.uris()) >= set(truth), "all toots")
        sink = scene.sink
        assert Counter(sink.uris()) == Counter(truth)
        assert sink.uris("status.update")
        assert sink.uris("delete")
        assert set(sink.uris("delete")) <= set(truth)
        assert not sink.dead_letters
        assert {record.source for record in sink.records} >= {"stream", "poll"}


def test_cut_stream_is_reopened_and_its_gap_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published while no stream was open is read from the timeline, as source gap.

    Shows G1.
    """
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            statistics = scene.statistics()
            scene.wait_until_connected()
            first = scene.receive_toot()
            simulator.fault("drop", seconds=1.0)
            simulator.fault("cut")
            missed = [simulator.publish() for _ in range(95)]
            scene.wait_for_toots(missed)
            wait_until(lambda: statistics.gaps_filled == 2, "the end of the gap")
            later = scene.receive_toot()
        assert Counter(scene.sink.uris()) == Counter([first, *missed, later])
        sources = {record.uri: record.source for record in scene.sink.records}
        assert {sources[uri] for uri in missed} <= {"gap", "poll"}, "from the timeline"
        assert (statistics.reconnects, statistics.gaps_lost) == (1, 0)


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_new_listener_resumes_where_the_last_one_stopped(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Toots published while nobody listened are not lost, as long as the server lists them.

    Shows G1.
    """
    positions = MemoryPositions()
    with Simulator(quiet(policy)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as before:
            before.receive_toot()
        assert before.sink.closed
        missed = [simulator.publish() for _ in range(50)]
        with listening_to(simulator, monkeypatch, positions=positions) as after:
            after.wait_for_toots(missed)
        assert set(after.sink.uris()) >= set(missed)
        assert duplicates(after.sink.uris()) == {}


@pytest.mark.parametrize("policy", [STREAMED, POLLED, SOCIAL], ids=lambda policy: policy.domain)
def test_own_toot_listed_late_below_the_position_is_recorded_after_a_restart(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its id is older than ids that were read before: the overlap has it. Shows G1."""
    positions = MemoryPositions()
    with Simulator(quiet(policy)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as before:
            known = [before.receive_toot() for _ in range(3)]
        late = [simulator.fetch_late(0, 0, seconds_ago) for seconds_ago in (2, 10, 30)]
        with listening_to(simulator, monkeypatch, positions=positions) as after:
            after.wait_for_toots(late)
    assert not set(late) & set(known)


def test_own_toot_listed_late_is_polled_with_the_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    """GoToSocial gives a toot its id up to ten seconds before it lists it. Shows G1."""
    timings = Timings(request_seconds=2, overlap_reread_seconds=0.5)
    with (
        Simulator(quiet(POLLED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        known = scene.receive_toot()
        late = simulator.fetch_late(0, 0, seconds_ago=10)
        scene.wait_for_toots([known, late])
        assert duplicates(scene.sink.uris()) == {}


def list_backdated(simulator: Simulator, seconds_ago: float) -> str:
    """Make the first server fetch a toot that another one posted earlier; return its uri."""
    [observer, home] = simulator.servers
    now = int(time.time() * 1000)
    plan = simulator.fediverse.plan
    number = 5_000_000 + int(seconds_ago)
    writer = Writer(plan.authors, random.Random(number), number_from=number)
    toot = writer.toot(home.domain, now - int(seconds_ago * 1000))
    status_id = plan.ids[observer.domain].backdated(toot.created_at)
    assert simulator.call(lambda: observer.publish(toot, status_id, now))
    return toot.uri


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_new_listener_reads_remote_toots_listed_below_its_position(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fetched toot's id has its post time: ten minutes before the position are read again."""
    positions = MemoryPositions()
    with Simulator(quiet(policy, HOME, weather=CALM)) as simulator:  # no event comes late
        with listening_to(
            simulator, monkeypatch, feeds=EVERYTHING, only=[0], positions=positions
        ) as before:
            first = before.receive_toot()
        saved = dict(positions.last_ids)
        late = list_backdated(simulator, seconds_ago=300)
        too_late = list_backdated(simulator, seconds_ago=900)
        with listening_to(
            simulator, monkeypatch, feeds=EVERYTHING, only=[0], positions=positions
        ) as after:
            after.wait_for_toots([late, first])
        assert too_late not in after.sink.uris()
        assert positions.last_ids == saved, "what lies before the position does not move it"


def test_reopened_stream_reads_the_overlap_and_records_no_toot_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pages before the gap contain nothing new, and the gap after them is still filled."""
    with Simulator(quiet(STREAMED, HOME)) as simulator:
        with listening_to(simulator, monkeypatch, feeds=EVERYTHING, only=[0]) as scene:
            statistics = scene.statistics()
            scene.wait_until_connected()
            known = [simulator.publish() for _ in range(95)]
            scene.wait_for_toots(known)
            simulator.fault("drop", seconds=1.0)
            simulator.fault("cut")
            missed = [simulator.publish() for _ in range(50)]
            missed.append(list_backdated(simulator, seconds_ago=300))
            wait_until(lambda: statistics.gaps_filled == 2, "the end of the gap")
        assert Counter(scene.sink.uris()) == Counter(known + missed)


def test_unacknowledged_toots_are_read_again_by_the_next_listener(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A listener that dies with toots in its queue loses none: the position waits for them.

    Shows G2.
    """
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as before:
            before.wait_until_connected()
            safe = before.receive_toot()
            server = before.statistics().server
            key = feed_key(server.base_url, server.feed)
            wait_until(
                lambda: positions.last_ids.get(key, "0") != "0", "the position of the first toot"
            )
            before.sink.acknowledging = False
            unacknowledged = [simulator.publish() for _ in range(3)]
            before.wait_for_toots(unacknowledged)
        saved = positions.last_ids[key]
        with listening_to(simulator, monkeypatch, positions=positions) as after:
            after.wait_for_toots(unacknowledged)
        listed = {toot.uri: toot.listed["stream.example"] for toot in simulator.truth()}
    assert saved == listed[safe]


def test_bad_events_are_dead_letters_and_the_stream_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with its reason; oddities that make sense are not dead letters."""
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_until_connected()
            for name in [*MALFORMED, *ODD]:
                simulator.fault("event", name=name)
            scene.receive_toot()
            assert scene.statistics().connects == 1
        sink = scene.sink
        assert len(sink.dead_letters) == len(MALFORMED)
        assert all(letter.reason and letter.payload for letter in sink.dead_letters)
        assert len(sink.uris()) == len(ODD) + 1


def test_locked_server_is_parked_and_the_others_are_followed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason names the variable for a token. Shows G6."""
    with (
        Simulator(quiet(LOCKED, STREAMED, CLOSED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("parked", "MASTODON_TOKEN_127_0_0_1_", server=LOCKED.domain)
        scene.wait_for("streaming", server=STREAMED.domain)
        scene.wait_for("streaming", server=CLOSED.domain)
        scene.receive_toot(CLOSED.domain)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 422])
def test_server_that_refuses_every_request_is_parked_with_its_answer(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again at once would change nothing."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", status=status, seconds=30)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("parked", str(status))


def test_server_that_was_down_is_streamed_once_it_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """5xx is temporary."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", status=503, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "503")
            simulator.fault("clear")
            scene.wait_for("streaming")


def test_loopback_is_refused_unless_private_addresses_are_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A configured name must not lead into a private network."""
    with Simulator(quiet(STREAMED)) as simulator:
        allowed = simulator_settings(simulator, monkeypatch)
        settings = allowed.model_copy(update={"mastodon_allow_private_addresses": False})
        with listening_to(simulator, monkeypatch, settings=settings) as scene:
            scene.wait_for("parked", "not https")


def test_listener_stops_within_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although one task waits in a read, one between two polls, and one is parked for an hour."""
    with Simulator(quiet(STREAMED, POLLED, LOCKED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        slow = settings.model_copy(update={"mastodon_poll_interval_seconds": 600.0})
        with listening_to(simulator, monkeypatch, settings=slow) as scene:
            for server, state in enumerate(("streaming", "polling", "parked")):
                scene.wait_for(state, server=server)
            began = time.monotonic()
        assert time.monotonic() - began < 60, "far less than any of the three would wait"
        assert {s.state for s in scene.listener.statistics} == {"stopped"}


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=lambda policy: policy.domain)
def test_listener_killed_at_once_leaves_since_when_its_feeds_are_wanted(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had no position yet: the next listener reads back to the first one's start. Shows G1."""
    positions = MemoryPositions()
    with Simulator(quiet(policy)) as simulator:
        killed = MortalSink(positions)
        with listening_to(simulator, monkeypatch, positions=positions, sink=killed) as scene:
            wait_until(scene.is_followed, "the server")
            wait_until(lambda: positions.positions, "the first save")
            killed.kill()
            missed = [simulator.publish() for _ in range(250)]
        positions.frozen = False
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_for_toots(sorted(set(missed) - recorded(killed)))
            assert scene.statistics().gaps_lost == 0
