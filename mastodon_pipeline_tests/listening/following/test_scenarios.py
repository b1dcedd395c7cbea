"""Whole stories of a Fediverse that goes wrong; afterwards the truth is compared toot by toot."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from infra.simulator.truth import TrueToot
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
)
from mastodon_pipeline_tests.support.scene import FAST, duplicates, listening_to, recorded
from mastodon_pipeline_tests.support.simulated_servers import POLLED, STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

WEBSOCKET = gotosocial("social.example")
UNEDITED = ("server", "username", "bot", "mentions", "media", "reply")
"""The fields with the same name in record and truth that no edit changes."""
PATIENT = replace(FAST, silence_seconds=60.0, request_seconds=20.0)
"""On a busy machine, too, a stream is opened again only because it was cut."""


def compare(truth: Sequence[TrueToot], *sinks: RecordingSink) -> None:
    """Fail if a toot is missing, made up, or not recorded as it was written.

    Edits and deletes may have happened while nobody listened: a recorded text is one of those that
    the author wrote, and an author with noindex has none.
    """
    records = [record for sink in sinks for record in sink.records]
    first = {record.uri: record for record in records if record.event != "delete"}
    expected = {toot.uri: toot for toot in truth}
    listed = {toot.uri for toot in truth if not toot.deleted}
    assert listed <= first.keys() <= expected.keys()
    for uri, record in first.items():
        assert unedited_fields(record) == true_fields(expected[uri]), uri
    for record in records:
        if record.event != "delete":
            toot = expected[record.uri]
            assert record.mastodon_text in (("",) if toot.noindex else toot.texts)
    assert not [letter for sink in sinks for letter in sink.dead_letters]


def unedited_fields(record: TootRecord) -> dict[str, Any]:
    """Return the fields of a record that no edit changes."""
    return {
        name: getattr(record, name) for name in (*UNEDITED, "created_at", "language", "status_id")
    }


def true_fields(toot: TrueToot) -> dict[str, Any]:
    """Return the same fields of the truth."""
    return {name: getattr(toot, name) for name in UNEDITED} | {
        "created_at": milliseconds(toot.created_at),
        "language": toot.language or "",
        "status_id": toot.listed[toot.server],
        "username": "" if toot.noindex else toot.username,
    }


def milliseconds(stamp: str) -> int:
    """Parse Mastodon's `2026-11-24T09:30:00.123Z`."""
    since_1970 = datetime.fromisoformat(stamp) - datetime.fromtimestamp(0, UTC)
    return since_1970 // timedelta(milliseconds=1)


def undeleted(simulator: Simulator) -> list[str]:
    """Return the uris of the toots that the servers still list."""
    return [toot.uri for toot in simulator.truth() if not toot.deleted]


def test_every_toot_is_recorded_despite_faults_of_all_kinds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams cut, ended, silent and divided; restarts; 429s and 503s: on three servers.

    Shows G1.
    """
    servers = (STREAMED, POLLED, WEBSOCKET)
    # 2 hours in 4 s.
    options = Options(servers=servers, toots=500, hours=2, speed=1800, start="control")
    with (
        Simulator(options) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("streaming", server=0)
        scene.wait_for("polling", server=1)
        scene.wait_for("websocket", server=2)
        simulator.start_publishing()
        faults: list[tuple[str, int, dict[str, Any]]] = [
            ("cut", 0, {}),
            ("cut", 2, {}),
            ("answer", 1, {"status": 429, "reset": "iso", "reset_seconds": 1, "seconds": 0.8}),
            ("pieces", 0, {"piece_bytes": 100}),
            ("restart", 2, {"seconds": 0.3}),
            ("restart", 0, {"seconds": 0.3}),
            ("answer", 0, {"status": 503, "endpoint": "timeline", "seconds": 0.5}),
            ("end", 0, {}),
            ("drop", 1, {"seconds": 0.3}),
            ("silence", 0, {}),
            ("crlf", 0, {}),
            ("end", 2, {}),
            ("cut", 0, {}),  # A silent stream stays silent.
        ]
        for kind, server, details in faults:
            time.sleep(0.25)  # Spread over the time of publication.
            simulator.fault(kind, server, **details)
        simulator.fault("speak", 0)
        simulator.wait_until_done()
        scene.wait_for_toots(undeleted(simulator))
        truth = simulator.truth()
        assert len(truth) == 500
    compare(truth, scene.sink)
    assert duplicates(scene.sink.uris()) == {}
    assert {record.source for record in scene.sink.records} == {"stream", "poll", "gap"}
    assert [statistics.gaps_lost for statistics in scene.listener.statistics] == [0, 0, 0]


@pytest.mark.parametrize("policy", [STREAMED, POLLED, WEBSOCKET], ids=lambda p: p.domain)
def test_successive_listeners_lose_nothing(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each resumes from the position of the one before it, while toots are published. Shows G1."""
    options = Options(servers=(policy,), toots=250, hours=2, speed=1800, start="control")
    positions = MemoryPositions()
    sinks: list[RecordingSink] = []
    with Simulator(options) as simulator:
        while not simulator.call(simulator.fediverse.done.is_set):
            with listening_to(simulator, monkeypatch, positions=positions) as scene:
                sinks.append(scene.sink)
                wait_until(scene.is_followed, "the server")
                simulator.start_publishing()
                time.sleep(0.4)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            sinks.append(scene.sink)
            before = set().union(*map(recorded, sinks))
            scene.wait_for_toots([uri for uri in undeleted(simulator) if uri not in before])
            scene.receive_toot()
        truth = simulator.truth()
    assert len(sinks) >= 3
    compare(truth, *sinks)
    for sink in sinks:  # What the overlap reads again is recorded twice, and deduped downstream.
        assert duplicates(sink.uris()) == {}


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=lambda p: p.domain)
def test_restarted_servers_backdated_toots_are_recorded_once(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Remote toots that are fetched late get ids below those read before: the overlap has them."""
    policy = replace(policy, remote_feed="public")
    servers = (policy, ServerPolicy("home.example", token=False))
    with Simulator(quiet(*servers)) as simulator:
        with listening_to(simulator, monkeypatch, feeds=("public",), only=[0]) as scene:
            known = [scene.receive_toot() for _ in range(3)]
            simulator.fault("restart", seconds=0.5)
            late = [simulator.fetch_late(0, 1, seconds_ago=60 * n) for n in (1, 5, 9)]
            missed = [simulator.publish() for _ in range(50)]
            scene.wait_for_toots([*known, *late, *missed])
            later = [scene.receive_toot(), scene.receive_toot()]
        listed = [toot for toot in simulator.truth() if policy.domain in toot.listed]
        assert {toot.uri for toot in listed} == {*known, *late, *missed, *later}
    assert sorted(scene.sink.uris()) == sorted(toot.uri for toot in listed)


@pytest.mark.parametrize("size", [1, 13])
def test_toots_that_arrive_in_small_pieces_are_complete(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Byte by byte, or in thirteens, which divides characters; with CRLF line ends."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("streaming")
        simulator.fault("crlf")
        simulator.fault("pieces", piece_bytes=size)
        uris = [simulator.publish() for _ in range(8)]
        scene.wait_for_toots(uris)
        truth = simulator.truth()
    compare(truth, scene.sink)
    assert scene.statistics().connects == 1
    assert sorted(scene.sink.uris()) == sorted(uris)


def test_forty_streams_that_are_cut_at_once_are_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost or opened twice; what was published meanwhile is read from the timelines."""
    servers = [replace(STREAMED, domain=f"s{n}.example") for n in range(40)]
    with (
        Simulator(quiet(*servers)) as simulator,
        listening_to(simulator, monkeypatch, backoff=Backoff(1.0, 60), timings=PATIENT) as scene,
    ):
        statistics = scene.listener.statistics
        wait_until(lambda: all(s.gaps_filled for s in statistics), "all streams")
        before = [simulator.publish(n) for n in range(40)]
        scene.wait_for_toots(before)
        for n in range(40):
            simulator.fault("cut", n)
        missed = [simulator.publish(n) for n in range(40)]
        wait_until(
            lambda: all(s.connects == 2 for s in statistics),
            "the streams again",
        )
        scene.wait_for_toots(missed)
        after = [simulator.publish(n) for n in range(40)]
        scene.wait_for_toots(after)
        assert duplicates(scene.sink.uris()) == {}
        assert {scene.requests("streaming", n) for n in range(40)} == {2}
        truth = simulator.truth()
    compare(truth, scene.sink)
