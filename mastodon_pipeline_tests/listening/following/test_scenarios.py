"""Whole stories of a Fediverse that goes wrong; afterwards the truth is compared toot by toot."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
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

WEBSOCKET = gotosocial("social.example")
SAME = ("server", "username", "bot", "mentions", "media", "reply")
"""What record and truth call by the same name, and no edit changes."""


def compare(truth: Sequence[TrueToot], *sinks: RecordingSink) -> None:
    """Fails where a toot is missing, invented or not told as it was written.

    Edits and deletes may have happened while nobody listened: a recorded text is one of those the
    author wrote, and an author who said noindex has none.
    """
    records = [record for sink in sinks for record in sink.records]
    first = {record.uri: record for record in records if record.event != "delete"}
    expected = {toot.uri: toot for toot in truth}
    listed = {toot.uri for toot in truth if not toot.deleted}
    assert listed <= first.keys() <= expected.keys()
    for uri, record in first.items():
        assert told(record) == written(expected[uri]), uri
    for record in records:
        if record.event != "delete":
            toot = expected[record.uri]
            assert record.mastodon_text in (("",) if toot.noindex else toot.texts)
    assert not [letter for sink in sinks for letter in sink.dead_letters]


def told(record: TootRecord) -> dict[str, Any]:
    """What a record says that no edit changes."""
    return {name: getattr(record, name) for name in (*SAME, "created_at", "language", "status_id")}


def written(toot: TrueToot) -> dict[str, Any]:
    """The same of the truth."""
    return {name: getattr(toot, name) for name in SAME} | {
        "created_at": milliseconds(toot.created_at),
        "language": toot.language or "",
        "status_id": toot.listed[toot.server],
    }


def milliseconds(stamp: str) -> int:
    """Of Mastodon's `2026-11-24T09:30:00.123Z`."""
    passed = datetime.fromisoformat(stamp) - datetime.fromtimestamp(0, UTC)
    return passed // timedelta(milliseconds=1)


def undeleted(simulator: Simulator) -> list[str]:
    """The uris of what the servers still list."""
    return [toot.uri for toot in simulator.truth() if not toot.deleted]


def test_everything_goes_wrong_and_every_toot_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams cut, ended, silent and split; restarts; a 429 storm; 503s: over three servers."""
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
        orders: list[tuple[str, int, dict[str, Any]]] = [
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
            ("cut", 0, {}),  # a silent stream never comes back to life
        ]
        for kind, server, details in orders:
            time.sleep(0.25)  # they are spread over the time of publication
            simulator.fault(kind, server, **details)
        simulator.fault("speak", 0)
        simulator.wait_until_done(30)
        scene.wait_for_toots(undeleted(simulator), seconds=20)
        truth = simulator.truth()
        assert len(truth) == 500
    compare(truth, scene.sink)
    assert repeated(scene.sink.uris()) == {}
    assert {record.source for record in scene.sink.records} == {"stream", "poll", "gap"}
    assert [statistics.gaps_lost for statistics in scene.listener.statistics] == [0, 0, 0]


@pytest.mark.parametrize("policy", [STREAMED, POLLED, WEBSOCKET], ids=lambda p: p.domain)
def test_a_chain_of_listeners_loses_and_repeats_nothing(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each goes on at the position that the one before it left, while toots are published."""
    options = Options(servers=(policy,), toots=250, hours=2, speed=3600, start="control")
    positions = MemoryPositions()
    sinks: list[RecordingSink] = []
    with Simulator(options) as simulator:
        while not simulator.call(simulator.fediverse.done.is_set):
            with listening_to(simulator, monkeypatch, positions=positions) as scene:
                sinks.append(scene.sink)
                wait_until(partial(busy, scene), "the server")
                simulator.start_publishing()
                time.sleep(0.4)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            sinks.append(scene.sink)
            everything = set().union(*map(recorded, sinks))
            scene.wait_for_toots([uri for uri in undeleted(simulator) if uri not in everything])
            scene.hears()
        truth = simulator.truth()
    assert len(sinks) > 3
    compare(truth, *sinks)
    assert repeated([uri for sink in sinks for uri in sink.uris()]) == {}


def busy(scene: Scene) -> bool:
    """The server is being followed."""
    return scene.of().state in ("streaming", "polling", "websocket")


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=lambda p: p.domain)
def test_a_restarted_server_with_backdated_ids(
    policy: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Late-fetched remote toots get ids below those read before: the overlap finds them, once."""
    policy = replace(policy, remote_feed="public")
    servers = (policy, ServerPolicy("home.example", token=False))
    with Simulator(quiet(*servers)) as simulator:
        with listening_to(simulator, monkeypatch, feeds=("public",), only=[0]) as scene:
            known = [scene.hears() for _ in range(3)]
            simulator.fault("restart", seconds=0.5)
            late = [simulator.fetch_late(0, 1, seconds_ago=60 * n) for n in (1, 5, 9)]
            missed = [simulator.publish() for _ in range(50)]
            scene.wait_for_toots([*known, *late, *missed])
            later = [scene.hears(), scene.hears()]
        listed = [toot for toot in simulator.truth() if policy.domain in toot.listed]
        assert {toot.uri for toot in listed} == {*known, *late, *missed, *later}
    assert sorted(scene.sink.uris()) == sorted(toot.uri for toot in listed)


@pytest.mark.parametrize("size", [1, 13])
def test_split_frames_are_whole_toots(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte by byte, or in thirteens, which cuts characters; with CRLF at the ends of lines."""
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
    assert scene.of().connects == 1
    assert scene.sink.uris() == uris


def test_forty_streams_that_are_cut_at_once_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """None is lost, none opened twice; what was published meanwhile is read from the timelines."""
    servers = [replace(STREAMED, domain=f"s{n}.example") for n in range(40)]
    with (
        Simulator(quiet(*servers)) as simulator,
        listening_to(simulator, monkeypatch, backoff=Backoff(1.0, 60)) as scene,
    ):
        statistics = scene.listener.statistics
        wait_until(lambda: all(s.gaps_filled for s in statistics), "all streams")
        before = [simulator.publish(n) for n in range(40)]
        scene.wait_for_toots(before)
        for n in range(40):
            simulator.fault("cut", n)
        missed = [simulator.publish(n) for n in range(40)]
        wait_until(lambda: all(s.connects == 2 for s in statistics), "their return", seconds=5)
        scene.wait_for_toots(missed)
        after = [simulator.publish(n) for n in range(40)]
        scene.wait_for_toots(after)
        assert repeated(scene.sink.uris()) == {}
        assert {scene.asked("streaming", n) for n in range(40)} == {2}
        truth = simulator.truth()
    compare(truth, scene.sink)
