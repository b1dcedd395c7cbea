"""Servers that stream by WebSocket alone, as GoToSocial does, with ULIDs for ids."""

import json
import time
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from infra.simulator.faults import MALFORMED
from infra.simulator.frames import Frame
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.server import SimulatedServer
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, wait_until
from mastodon_pipeline_tests.support.scene import (
    STEADY,
    TIMINGS,
    Scene,
    holds_for,
    listening_to,
    quiet,
    repeated,
)

pytestmark = pytest.mark.thorough

SOCIAL = replace(gotosocial("social.example"), thump_seconds=0.1)


def connected(scene: Scene) -> SimulatedServer:
    """The server, once its WebSocket is open and the first look at its timeline is over."""
    scene.wait_for("websocket")
    wait_until(lambda: scene.of().gaps_filled > 0, "the first pages of the timeline")
    return scene.simulator.servers[0]


def test_toots_edits_and_deletes_arrive(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their ULIDs; a delete, which is told by its ULID alone, finds its toot."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        uris = [scene.hears() for _ in range(3)]
        toot = simulator.fediverse.live_toots[1]
        body = simulator.fediverse._live.edited(toot)
        simulator.call(lambda: toot.edit(body, int(time.time() * 1000)))
        simulator.call(lambda: server.stream_edit(toot))
        simulator.call(lambda: server.delete(toot))
        wait_until(lambda: bool(scene.sink.uris("delete")), "the delete")
        truth = {one.uri: one for one in simulator.truth()}
    assert scene.sink.uris("update") == uris
    assert scene.sink.uris("status.update") == scene.sink.uris("delete") == [uris[1]]
    for record in scene.sink.records:
        assert record.status_id == truth[record.uri].listed["social.example"]
        assert len(record.status_id) == 26
    assert scene.sink.records[-1].created_at == toot.created_at, "its toot's hour"


def test_the_socket_is_opened_once_and_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request who it is, one socket with the token in a header, and pages of a gap."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        scene.hears()
        assert holds_for(lambda: scene.asked("instance") == 1, 0.5)
        streaming = [seen for seen in server.requests if seen.endpoint == "streaming"]
        assert len(streaming) <= 2, "an attempt at events, and the socket"
        assert streaming[-1].path == "/api/v1/streaming?stream=public:local"
        assert all(seen.token for seen in server.requests if seen.endpoint != "instance")
        assert "access_token" not in str(server.requests)


def test_without_a_token_it_is_parked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its timeline is not for the public, which only trying tells: a 401, and no second try."""
    with (
        Simulator(quiet(gotosocial("shy.example", token=False))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("parked", "401")
        asked = scene.asked()
        assert asked <= 3
        assert holds_for(lambda: scene.asked() == asked, 0.5)


@pytest.mark.parametrize("fault", ["cut", "end", "restart"])
def test_a_socket_that_breaks_comes_back_and_its_gap_is_filled(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward from the last ULID, whatever ended the connection; nothing twice."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        first = scene.hears()
        simulator.fault("drop", seconds=0.4)
        simulator.fault(fault, seconds=0.4)
        missed = [simulator.publish() for _ in range(60)]
        scene.wait_for_toots([first, *missed])
        scene.hears()
        assert repeated(scene.sink.uris()) == {}
        assert scene.of().reconnects == 1
        pages = [seen.path for seen in server.requests if "min_id" in seen.path]
        ids = {toot.uri: toot.listed["social.example"] for toot in simulator.truth()}
    assert any(f"min_id={ids[first]}" in page for page in pages)
    gap = {record.uri for record in scene.sink.records if record.source == "gap"}
    assert gap >= set(missed), "and perhaps the one after them"


def test_the_next_listener_goes_on_at_the_ulid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions are opaque text; no number is made of them."""
    positions = MemoryPositions()
    with Simulator(quiet(SOCIAL)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            connected(scene)
            first = scene.hears()
        [kept] = positions.kept.values()
        ids = {toot.uri: toot.listed["social.example"] for toot in simulator.truth()}
        assert ids[first] in str(kept)
        missed = [simulator.publish() for _ in range(45)]
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_for_toots(missed)
            assert set(scene.sink.uris()) == set(missed)
            assert repeated(scene.sink.uris()) == {}


def test_a_socket_that_falls_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither messages nor pings come, nor an answer to ours: nobody is there any more."""
    timings = replace(TIMINGS, silence_seconds=0.6)
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        connected(scene)
        simulator.fault("silence")
        missed = simulator.publish()
        scene.wait_for("waiting")
        simulator.fault("speak")
        scene.wait_for_toots([missed])
        scene.hears()


def test_messages_that_are_none_are_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its reason; the socket stays open."""

    def raw(server: SimulatedServer, message: str) -> None:
        class Raw(Frame):
            def message(self, channel: str) -> str:
                return message

        server.streams.send_to_all(Raw("update", b""))

    messages = ["", "no json", "[]", "null", '{"event": 7}', json.dumps({"event": "update"})]
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        for name in MALFORMED:
            simulator.fault("event", name=name)
        for message in messages:
            simulator.call(partial(raw, server, message))
        ignored: dict[str, Any] = {"stream": ["public"], "event": "new", "payload": None}
        simulator.call(lambda: raw(server, json.dumps(ignored)))
        scene.hears()
        assert len(scene.sink.dead_letters) == len(MALFORMED) + len(messages)
        assert all(letter.reason for letter in scene.sink.dead_letters)
        assert scene.of().connects == 1


def test_an_oversized_message_ends_the_socket_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not taken in; the listener comes back, without a hot loop."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch, backoff=STEADY) as scene,
    ):
        server = connected(scene)
        huge = Frame("update", b'{"id": "1", "content": "%b"}' % (b"x" * 5 * 2**20))
        simulator.call(lambda: server.streams.send_to_all(huge))
        scene.wait_for("waiting")
        scene.hears()
        assert scene.of().connects == 2


def test_mastodons_websocket_is_used_where_its_event_streams_are_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Software we do not know by name may do as GoToSocial does."""
    policy = ServerPolicy("other.example", software="gotosocial", version="1.0 (compatible; Other)")
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        connected(scene)
        scene.hears()
