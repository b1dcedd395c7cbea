"""Servers that stream by WebSocket only, as GoToSocial does, with ULIDs as ids."""

import json
import time
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from infra.simulator.faults import MALFORMED
from infra.simulator.frames import Frame
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.server import SimulatedServer
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import STEADY, Scene, duplicates, holds_for, listening_to
from mastodon_pipeline_tests.support.simulated_servers import quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

SOCIAL = replace(gotosocial("social.example"), thump_seconds=0.1)


def connected(scene: Scene) -> SimulatedServer:
    """Wait until the server's WebSocket is open; return the server."""
    scene.wait_until_connected("websocket")
    return scene.simulator.servers[0]


def test_toots_edits_and_deletes_are_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """With their ULIDs; a delete, which has only its ULID, is matched to its toot."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        uris = [scene.receive_toot() for _ in range(3)]
        toot = simulator.fediverse.live_toots[1]
        body = simulator.fediverse._live.edited(toot)
        simulator.call(lambda: toot.edit(body, int(time.time() * 1000)))
        simulator.call(lambda: server.stream_edit(toot))
        simulator.call(lambda: server.delete(toot))
        wait_until(lambda: bool(scene.sink.uris("delete")), "the delete")
        truth = {toot.uri: toot for toot in simulator.truth()}
    assert scene.sink.uris("update") == uris
    assert scene.sink.uris("status.update") == scene.sink.uris("delete") == [uris[1]]
    for record in scene.sink.records:
        assert record.status_id == truth[record.uri].listed["social.example"]
        assert len(record.status_id) == 26
    assert scene.sink.records[-1].created_at == toot.created_at, "the hour of its toot"


def test_websocket_is_opened_once_and_politely(monkeypatch: pytest.MonkeyPatch) -> None:
    """One request for instance info, one WebSocket with the token in a header, pages of a gap."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        scene.receive_toot()
        assert holds_for(lambda: scene.requests("instance") == 1, 0.5)
        streaming = [request for request in server.requests if request.endpoint == "streaming"]
        assert len(streaming) <= 2, "an attempt at server-sent events, and the WebSocket"
        assert streaming[-1].path == "/api/v1/streaming?stream=public:local"
        assert all(
            request.token
            for request in server.requests
            if request.endpoint in ("timeline", "streaming")
        )
        assert "access_token" not in str(server.requests)


def test_server_without_a_public_timeline_is_parked_without_a_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a request shows that its timeline is not public: a 401, and no second attempt."""
    with (
        Simulator(quiet(gotosocial("shy.example", token=False))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("parked", "401")
        requests = scene.requests()
        assert requests <= 3
        assert holds_for(lambda: scene.requests() == requests, 0.5)


@pytest.mark.parametrize("fault", ["cut", "end", "restart"])
def test_broken_websocket_is_reopened_and_its_gap_filled(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forward from the last ULID, whatever ended the connection; nothing is recorded twice."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        server = connected(scene)
        first = scene.receive_toot()
        simulator.fault("drop", seconds=1.0)
        simulator.fault(fault, seconds=1.0)
        missed = [simulator.publish() for _ in range(60)]
        scene.wait_for_toots([first, *missed])
        scene.receive_toot()
        assert duplicates(scene.sink.uris()) == {}
        assert scene.statistics().reconnects == 1
        pages = [request.path for request in server.requests if "min_id" in request.path]
        ids = {toot.uri: toot.listed["social.example"] for toot in simulator.truth()}
    [overlap, *_] = [parse_qs(urlsplit(page).query)["min_id"][0] for page in pages]
    assert len(overlap) == len(ids[first])
    assert overlap < ids[first]
    gap = {record.uri for record in scene.sink.records if record.source == "gap"}
    assert gap >= set(missed), "and perhaps the toot after them"


def test_next_listener_resumes_at_the_ulid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Positions are opaque text and are not converted to numbers."""
    positions = MemoryPositions()
    with Simulator(quiet(SOCIAL)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            connected(scene)
            first = scene.receive_toot()
        [last_id] = positions.last_ids.values()
        ids = {toot.uri: toot.listed["social.example"] for toot in simulator.truth()}
        assert ids[first] in last_id
        missed = [simulator.publish() for _ in range(45)]
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_for_toots(missed)
            assert set(scene.sink.uris()) >= set(missed)
            assert duplicates(scene.sink.uris()) == {}


def test_silent_websocket_is_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither messages nor pings nor pongs arrive: the server is gone."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        connected(scene)
        simulator.fault("silence")
        missed = simulator.publish()
        scene.wait_for("waiting")
        simulator.fault("speak")
        scene.wait_for_toots([missed])
        scene.receive_toot()


def test_undecodable_messages_are_dead_letters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its reason; the WebSocket stays open."""

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
        scene.receive_toot()
        assert len(scene.sink.dead_letters) == len(MALFORMED) + len(messages)
        assert all(letter.reason for letter in scene.sink.dead_letters)
        assert scene.statistics().connects == 1


def test_oversized_message_ends_the_websocket_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not read; the listener reconnects, without a hot loop."""
    with (
        Simulator(quiet(SOCIAL)) as simulator,
        listening_to(simulator, monkeypatch, backoff=STEADY) as scene,
    ):
        server = connected(scene)
        huge = Frame("update", b'{"id": "1", "content": "%b"}' % (b"x" * 5 * 2**20))
        simulator.call(lambda: server.streams.send_to_all(huge))
        scene.wait_for("waiting")
        scene.receive_toot()
        assert scene.statistics().connects == 2


def test_websocket_of_unknown_software_is_used_if_it_has_no_event_stream(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Software that we do not know by name may behave like GoToSocial."""
    policy = ServerPolicy("other.example", software="gotosocial", version="1.0 (compatible; Other)")
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        connected(scene)
        scene.receive_toot()
