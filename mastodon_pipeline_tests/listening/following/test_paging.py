"""Servers that page their timeline otherwise than Mastodon does: nothing is lost unnoticed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.timeline import NEWEST_PAGE_ONLY
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import Scene, duplicates, listening_to, recorded
from mastodon_pipeline_tests.support.simulated_servers import (
    POLLED,
    STREAMED,
    quiet,
    simulator_settings,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

MISSED = 90
"""Toots while nobody listens: more than two of Mastodon's pages."""
READABLE: list[dict[str, int]] = [
    {},
    *({"page_limit": size} for size in (30, 20, 10)),
    {"ignores_min_id": True},
    {"ignores_min_id": True, "page_limit": 20},
    {"min_id_is_since_id": True},
    {"min_id_is_since_id": True, "page_limit": 10},
]
NEWEST_PAGE: list[dict[str, int]] = [
    {"ignores_min_id": True, "ignores_max_id": True, "page_limit": size} for size in (40, 20)
]


def policies(base: ServerPolicy, cases: Sequence[dict[str, int]]) -> list[ServerPolicy]:
    return [
        replace(base, domain=f"server{number}.example", **case)  # type: ignore[arg-type]
        for number, case in enumerate(cases)
    ]


def miss_toots(scene: Scene, servers: int) -> list[list[str]]:
    """Let all servers publish while they cannot be listened to; return the uris by server."""
    simulator = scene.simulator
    for server in range(servers):
        simulator.fault("answer", server, status=503, endpoint="timeline", seconds=3600)
        simulator.fault("drop", server, endpoint="streaming", seconds=3600)
        simulator.fault("cut", server)
    missed = [[simulator.publish(server) for _ in range(MISSED)] for server in range(servers)]
    for server in range(servers):
        simulator.fault("clear", server)
    return missed


def lost(statistics: ServerStatistics) -> Callable[[], bool]:
    return lambda: statistics.gaps_lost == 1


def closed(statistics: ServerStatistics) -> Callable[[], bool]:
    return lambda: not statistics.open_gaps


@pytest.mark.parametrize("base", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_every_missed_toot_is_read_however_a_server_pages(
    base: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Smaller pages, a `min_id` that is ignored, or taken for a `since_id`. Shows G1."""
    with (
        Simulator(quiet(*policies(base, READABLE))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        for server in range(len(READABLE)):
            if base.token:
                scene.wait_until_connected(server=server)
            scene.receive_toot(server)
        for uris in miss_toots(scene, len(READABLE)):
            scene.wait_for_toots(uris)
        for server, case in enumerate(READABLE):
            assert scene.statistics(server).gaps_lost == 0
            if base is POLLED and case.keys() & {"ignores_min_id", "min_id_is_since_id"}:
                assert NEWEST_PAGE_ONLY in scene.wait_for("polling", server=server)
        assert duplicates(scene.sink.uris()) == {}


def test_busy_server_with_small_pages_is_read_as_fast_as_it_allows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A page that is full by its own measure is followed by the next one at once. Shows G1."""
    positions = MemoryPositions()
    with Simulator(quiet(replace(POLLED, page_limit=20))) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.receive_toot()
        uris = [simulator.publish() for _ in range(MISSED)]
        settings = settings.model_copy(update={"mastodon_poll_interval_seconds": 60.0})
        with listening_to(simulator, monkeypatch, positions=positions, settings=settings) as scene:
            scene.wait_for_toots(uris)


@pytest.mark.parametrize("base", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_what_lies_before_the_newest_page_is_reported(
    base: ServerPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a server that shows no other page; its gap does not count as filled. Shows G3."""
    with (
        Simulator(quiet(*policies(base, NEWEST_PAGE))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        first: list[str] = []
        for server in range(len(NEWEST_PAGE)):
            if base.token:
                scene.wait_until_connected(server=server)
            first.append(scene.receive_toot(server))
        filled = [scene.statistics(server).gaps_filled for server in range(len(NEWEST_PAGE))]
        missed = miss_toots(scene, len(NEWEST_PAGE))
        for server, case in enumerate(NEWEST_PAGE):
            statistics = scene.statistics(server)
            readable = missed[server][-case["page_limit"] :]
            scene.wait_for_toots(readable)
            wait_until(lost(statistics), "the hole reported")
            ids = {record.uri: record.status_id for record in scene.sink.records}
            [gap] = statistics.unfilled_gaps
            assert (gap.after_id, gap.before_id) == (ids[first[server]], ids[readable[0]])
            assert gap.reason == NEWEST_PAGE_ONLY
            assert 0 < (gap.from_ms or 0) <= (gap.to_ms or 0)
            scene.receive_toot(server)
            if base.token:
                wait_until(closed(statistics), "the gap closed")
                assert statistics.gaps_filled == filled[server]
            else:
                assert not (set(missed[server]) - set(readable)) & recorded(scene.sink)
        assert duplicates(scene.sink.uris()) == {}
