"""Listening to a simulated Fediverse: what was published arrives, whatever happens meanwhile."""

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.simulator.content import Writer
from infra.simulator.faults import MALFORMED, ODD
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.listening.conftest import listening, simulator_settings
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)

pytestmark = pytest.mark.thorough

STREAMING = ServerPolicy("stream.example")
CLOSED = ServerPolicy("closed.example", local_feed="authenticated", remote_feed="authenticated")
POLLED = ServerPolicy("poll.example", token=False)
LOCKED = ServerPolicy("locked.example", token=False, local_feed="authenticated")


def quiet(*servers: ServerPolicy) -> Options:
    """Servers that publish only when a test says so."""
    return Options(servers=servers, toots=0, start="control")


def test_everything_published_arrives_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By streams and by polling, with edits and deletes; the truth compared toot by toot."""
    with Simulator(Options(toots=600, hours=3, speed=5000)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        sink = RecordingSink()
        with listening(settings, sink, MemoryPositions()):
            simulator.wait_until_done(60)
            truth = {toot.uri for toot in simulator.truth()}
            wait_until(lambda: set(sink.uris()) >= truth, "all toots")
        assert Counter(sink.uris()) == Counter(truth)
        assert sink.uris("status.update")
        assert sink.uris("delete")
        assert set(sink.uris("delete")) <= truth
        assert not sink.dead_letters
        assert {record.source for record in sink.records} >= {"stream", "poll"}


def test_a_cut_stream_comes_back_and_its_gap_is_filled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was published while no stream was open is read from the timeline, as source gap."""
    with Simulator(quiet(STREAMING)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        sink = RecordingSink()
        with listening(settings, sink, MemoryPositions()) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.gaps_filled == 1, "the first connection")
            first = simulator.publish()
            wait_until(lambda: first in sink.uris(), "the first toot")
            simulator.fault("drop", seconds=1.0)
            simulator.fault("cut")
            missed = [simulator.publish() for _ in range(95)]
            wait_until(lambda: set(sink.uris()) >= set(missed), "the missed toots")
            wait_until(lambda: statistics.gaps_filled == 2, "the gap's end")
            later = simulator.publish()
            wait_until(lambda: later in sink.uris(), "a toot after the gap")
        assert Counter(sink.uris()) == Counter([first, *missed, later])
        sources = {r.uri: r.source for r in sink.records}
        assert {sources[uri] for uri in missed} == {"gap"}
        assert (statistics.reconnects, statistics.gaps_lost) == (1, 0)


@pytest.mark.parametrize("policy", [STREAMING, POLLED], ids=["streamed", "polled"])
def test_a_new_listener_goes_on_where_the_last_one_was(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Toots published while nobody listened are not lost, as long as the server lists them."""
    with Simulator(quiet(policy)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        positions = MemoryPositions()
        before = RecordingSink()
        with listening(settings, before, positions):
            first = simulator.publish()
            wait_until(lambda: first in before.uris(), "the first toot")
        assert before.closed
        missed = [simulator.publish() for _ in range(50)]
        after = RecordingSink()
        with listening(settings, after, positions):
            wait_until(lambda: set(after.uris()) >= set(missed), "the missed toots")
        assert Counter(after.uris()) == Counter(missed)


@pytest.fixture
def public_feed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Simulator], Settings]:
    """Follows the simulator's first server with the toots of others that it knows."""

    def settings(simulator: Simulator) -> Settings:
        servers = tmp_path / "servers.toml"
        url = simulator.servers[0].base_url
        servers.write_text(f'[[servers]]\nurl = "{url}"\nfeed = "public"\n')
        found = simulator_settings(simulator, monkeypatch)
        return found.model_copy(
            update={"mastodon_servers": (), "mastodon_servers_file": servers},
        )

    return settings


def list_backdated(simulator: Simulator, seconds_ago: float) -> str:
    """The first server fetches a toot of another one, written so long ago; the toot's uri."""
    [observer, home] = simulator.servers
    now = int(time.time() * 1000)
    plan = simulator.fediverse.plan
    number = 5_000_000 + int(seconds_ago)
    writer = Writer(plan.authors, random.Random(number), number_from=number)
    toot = writer.toot(home.domain, now - int(seconds_ago * 1000))
    status_id = plan.ids[observer.domain].backdated(toot.created_at)
    assert simulator.call(lambda: observer.publish(toot, status_id, now))
    return toot.uri


@pytest.mark.parametrize("policy", [STREAMING, POLLED], ids=["streamed", "polled"])
def test_a_new_listener_finds_remote_toots_listed_below_its_position(
    policy: ServerPolicy, public_feed: Callable[[Simulator], Settings]
) -> None:
    """A fetched toot's id is of its post time: ten minutes before the position are read again."""
    with Simulator(quiet(policy, ServerPolicy("home.example"))) as simulator:
        settings = public_feed(simulator)
        positions = MemoryPositions()
        before = RecordingSink()
        with listening(settings, before, positions):
            first = simulator.publish()
            wait_until(lambda: first in before.uris(), "the first toot")
        saved = dict(positions.kept)
        late = list_backdated(simulator, seconds_ago=300)
        too_late = list_backdated(simulator, seconds_ago=900)
        after = RecordingSink()
        with listening(settings, after, positions):
            wait_until(lambda: {late, first} <= set(after.uris()), "the late toot")
        assert too_late not in after.uris()
        assert positions.kept == saved, "what lies before the position does not move it"


def test_a_reconnected_stream_reads_the_overlap_but_records_no_toot_twice(
    public_feed: Callable[[Simulator], Settings],
) -> None:
    """The pages before the gap hold nothing new, and the gap behind them is filled all the same."""
    with Simulator(quiet(STREAMING, ServerPolicy("home.example"))) as simulator:
        sink = RecordingSink()
        with listening(public_feed(simulator), sink, MemoryPositions()) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.gaps_filled == 1, "the first connection")
            known = [simulator.publish() for _ in range(95)]
            wait_until(lambda: set(sink.uris()) >= set(known), "the first toots")
            simulator.fault("drop", seconds=1.0)
            simulator.fault("cut")
            missed = [simulator.publish() for _ in range(50)]
            missed.append(list_backdated(simulator, seconds_ago=300))
            wait_until(lambda: statistics.gaps_filled == 2, "the gap's end")
        assert Counter(sink.uris()) == Counter(known + missed)


def test_what_was_never_acknowledged_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that dies with toots in its queue loses none: the position waited for them."""
    with Simulator(quiet(STREAMING)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        positions = MemoryPositions()
        doomed = RecordingSink()
        with listening(settings, doomed, positions) as listener:
            wait_until(lambda: listener.statistics[0].gaps_filled == 1, "the connection")
            safe = simulator.publish()
            server = settings.servers()[0]
            key = feed_key(server.base_url, server.feed)
            wait_until(
                lambda: positions.kept.get(key, "0") != "0", "the position of the first toot"
            )
            doomed.acknowledging = False
            lost = [simulator.publish() for _ in range(3)]
            wait_until(lambda: set(doomed.uris()) >= set(lost), "the toots")
        heir = RecordingSink()
        with listening(settings, heir, positions):
            wait_until(lambda: set(heir.uris()) >= set(lost), "the toots again")
        assert safe not in heir.uris()


def test_bad_events_are_dead_letters_and_the_stream_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each with its reason; oddities that can be understood are no dead letters."""
    with Simulator(quiet(STREAMING)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        sink = RecordingSink()
        with listening(settings, sink, MemoryPositions()) as listener:
            wait_until(lambda: listener.statistics[0].state == "streaming", "the stream")
            for name in [*MALFORMED, *ODD]:
                simulator.fault("event", name=name)
            last = simulator.publish()
            wait_until(lambda: last in sink.uris(), "the toot after them")
            assert listener.statistics[0].connects == 1
        assert len(sink.dead_letters) == len(MALFORMED)
        assert all(letter.reason and letter.payload for letter in sink.dead_letters)
        assert len(sink.uris()) == len(ODD) + 1


def test_a_locked_server_is_parked_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason names the variable that would let us in."""
    with Simulator(quiet(LOCKED, STREAMING, CLOSED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        sink = RecordingSink()
        with listening(settings, sink, MemoryPositions()) as listener:
            locked, streamed, closed = listener.statistics
            wait_until(lambda: locked.state == "parked", "the locked server")
            assert "MASTODON_TOKEN_127_0_0_1_" in locked.reason
            wait_until(lambda: {streamed.state, closed.state} == {"streaming"}, "the others")
            uri = simulator.publish("closed.example")
            wait_until(lambda: uri in sink.uris(), "a toot of another server")


@pytest.mark.parametrize("status", [401, 403, 404, 410, 422])
def test_a_refusing_server_is_parked_with_its_answer(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking again at once would change nothing."""
    with Simulator(quiet(STREAMING)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=status, seconds=30)
        with listening(settings, RecordingSink(), MemoryPositions()) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.state == "parked", "parking")
            assert str(status) in statistics.reason


def test_a_server_that_is_down_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """5xx and dropped connections are weather."""
    with Simulator(quiet(STREAMING)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        simulator.fault("answer", status=503, seconds=0.6)
        with listening(settings, RecordingSink(), MemoryPositions()) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.state == "waiting", "the first failure")
            assert "503" in statistics.reason
            wait_until(lambda: statistics.state == "streaming", "the stream")


def test_without_the_simulators_flag_loopback_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A configured name must not lead into somebody's own network."""
    with Simulator(quiet(STREAMING)) as simulator:
        allowed = simulator_settings(simulator, monkeypatch)
        settings = allowed.model_copy(update={"mastodon_allow_private_addresses": False})
        with listening(settings, RecordingSink(), MemoryPositions()) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.state == "parked", "parking")
            assert "not https" in statistics.reason


def test_stopping_takes_no_longer_than_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Although one thread waits in a read, one between two polls, and one is parked for an hour."""
    with Simulator(quiet(STREAMING, POLLED, LOCKED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        slow = settings.model_copy(update={"mastodon_poll_interval_seconds": 600.0})
        with listening(slow, RecordingSink(), MemoryPositions()) as listener:
            wanted = ["streaming", "polling", "parked"]
            wait_until(lambda: [s.state for s in listener.statistics] == wanted, "all three")
            began = time.monotonic()
        assert time.monotonic() - began < 3
        assert {s.state for s in listener.statistics} == {"stopped"}
