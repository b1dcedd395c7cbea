"""What servers answer that they should not: elsewhere, too much, nonsense, strange times.

Each test counts the requests that the server saw.
"""

import asyncio
import time
import tracemalloc
from dataclasses import replace
from functools import partial

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.frames import Frame
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import wait_until
from mastodon_pipeline_tests.support.scene import (
    CONTACT,
    ENDPOINTS,
    POLLED,
    SOON,
    STEADY,
    STREAMED,
    holds_for,
    listening_to,
    quiet,
    repeated,
    settled,
)

pytestmark = pytest.mark.thorough

MEGABYTE = 2**20


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_a_redirect_to_another_host_is_not_followed(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, budget and count are the configured server's; a move is for a person to configure."""
    policy = POLLED if endpoint == "timeline" else STREAMED
    with (
        Simulator(quiet(ServerPolicy("thief.example"))) as elsewhere,
        Simulator(quiet(policy)) as simulator,
    ):
        target = elsewhere.servers[0].base_url
        simulator.fault("redirect", endpoint=endpoint, target=target, seconds=60)
        with listening_to(simulator, monkeypatch) as scene:
            here = simulator.servers[0].base_url.split("://")[1]
            scene.wait_for("parked", here, target.split("://")[1])
            asked = scene.asked()
            assert holds_for(lambda: scene.asked() == asked, 0.5)
        assert elsewhere.asked() == 0


def test_a_redirect_on_the_same_host_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers move their paths."""
    with Simulator(quiet(STREAMED, POLLED)) as simulator:
        for server in (0, 1):
            simulator.fault("redirect", server, seconds=60)
        with listening_to(simulator, monkeypatch) as scene:
            scene.hears(0)
            scene.hears(1)
            assert scene.asked("streaming", 0) == 2


def test_the_advertised_streaming_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large servers stream from a host of its own; `configuration.urls.streaming` names it."""
    with Simulator(quiet(replace(STREAMED, streams_apart=True))) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.hears()
        server = simulator.servers[0]
        hosts = {seen.endpoint: seen.host for seen in server.requests}
        assert hosts["streaming"] == f"127.0.0.1:{server.streaming_port}"
        assert hosts["instance"] == hosts["timeline"] == f"127.0.0.1:{server.port}"


@pytest.mark.parametrize(
    "url",
    [
        "http://streaming.example",
        "https://localhost",
        "https://127.0.0.1:1",
        "https://[::1]:1",
        "https://10.0.0.1",
        "https://169.254.169.254",
    ],
)
def test_an_advertised_address_is_checked_like_a_configured_one(url: str) -> None:
    """Or a server could send our token in the open, or us into somebody's own network."""

    async def open_both() -> None:
        async with Connections(Settings()) as connections:
            with pytest.raises(UnsafeAddress):
                async with connections.stream(f"{url}/api/v1/streaming/public", "token"):
                    pass
            with pytest.raises(UnsafeAddress):
                async with connections.websocket(url.replace("http", "ws", 1), "token"):
                    pass

    asyncio.run(open_both())


# Too much, and nonsense


@pytest.mark.parametrize("fault", ["bomb", "endless_line", "endless_header"])
@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_no_answer_fills_the_memory(
    endpoint: Endpoint, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB, packed to 64 kB or sent as they are, cost us a fraction and the server one answer."""
    with Simulator(quiet(POLLED if endpoint == "timeline" else STREAMED)) as simulator:
        simulator.fault(fault, endpoint=endpoint, megabytes=64, seconds=60)
        tracemalloc.start()
        try:
            with listening_to(simulator, monkeypatch, backoff=Backoff(20, 20)) as scene:
                scene.wait_for("waiting")
                assert tracemalloc.get_traced_memory()[1] < 48 * MEGABYTE
                assert scene.asked(endpoint) == 1
        finally:
            tracemalloc.stop()


def test_an_answer_that_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of HTML with status 200, as a captive portal or a hoster's error page is."""
    policies = [POLLED if at == "timeline" else STREAMED for at in ENDPOINTS]
    policies = [replace(policy, domain=at) for policy, at in zip(policies, ENDPOINTS, strict=True)]
    with Simulator(quiet(*policies)) as simulator:
        for server, endpoint in enumerate(ENDPOINTS):
            simulator.fault("garbage", server, endpoint=endpoint, seconds=60, **SOON)
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            for server, endpoint in enumerate(ENDPOINTS):
                scene.wait_for("waiting", server=server)
                assert scene.asked(endpoint, server) <= 6
                simulator.fault("clear", server)
            for server in range(len(ENDPOINTS)):
                scene.hears(server)


def test_a_server_that_ignores_min_id_is_not_asked_in_a_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its page is always full and always the newest: that is the end of it, until the next poll."""
    policies = [replace(policy, ignores_min_id=True) for policy in (POLLED, STREAMED)]
    with Simulator(quiet(*policies)) as simulator:
        for server in (0, 1):
            for _ in range(60):
                simulator.publish(server)
        with listening_to(simulator, monkeypatch) as scene:
            scene.hears(0)
            settled(scene, 1)
            scene.hears(1)
            simulator.fault("cut", 1)
            wait_until(lambda: scene.of(1).gaps_filled == 2, "the gap's end")
            asked = scene.asked("timeline", 0)
            time.sleep(1.0)
            assert scene.asked("timeline", 0) - asked <= 6, "every 0.2 s"
            assert scene.asked("timeline", 1) <= 5
        assert repeated(scene.sink.uris()) == {}


def test_an_oversized_event_is_a_dead_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream stays open and goes on behind it."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        settled(scene)
        server = simulator.servers[0]
        frame = Frame("update", b'{"id": "1", "content": "%b"}' % (b"x" * 5 * MEGABYTE))
        simulator.call(lambda: server.streams.send_to_all(frame))
        scene.hears()
        [letter] = scene.sink.dead_letters
        assert "larger than" in letter.reason
        assert len(letter.payload) <= 4 * MEGABYTE
        assert scene.of().connects == 1


# Clocks and languages


STRANGE = """{"id": "%d", "uri": "https://odd.example/%d", "created_at": "%s", "language": %s,
 "account": {"username": "odd", "acct": "odd@odd.example"}, "content": "<p>odd</p>"}"""


def test_claimed_times_and_languages_are_kept_and_tamed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A post time is claimed by the author's server: any year; from the future it is clamped."""
    now = time.time_ns() // 1_000_000
    cases = [
        ("9999-12-31T23:59:59.000Z", '"zh-CN"', None, "zh"),
        ("2001-02-03T04:05:06.789Z", '"DE_at"', 981_173_106_789, "de"),
        ("1969-12-31T23:59:59.999Z", "null", -1, ""),
        ("2020-01-01T01:00:00+01:00", '"x-Klingon"', 1_577_836_800_000, "x"),
    ]
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        settled(scene)
        server = simulator.servers[0]
        for number, (created_at, language, *_) in enumerate(cases, 1):
            payload = STRANGE % (number, number, created_at, language)
            frame = Frame("update", payload.replace("\n", "").encode())
            simulator.call(partial(server.streams.send_to_all, frame))
        scene.wait_for_toots([f"https://odd.example/{n}" for n in range(1, len(cases) + 1)])
        records = {record.uri: record for record in scene.sink.records}
        for number, (_, language, created_ms, primary) in enumerate(cases, 1):
            record = records[f"https://odd.example/{number}"]
            assert record.language == ("" if language == "null" else language.strip('"'))
            assert record.language_primary == primary
            if created_ms is None:
                assert now <= record.created_at - 5 * 60_000 == record.ingested_at
            else:
                assert record.created_at == created_ms


# Etiquette


def test_one_connection_and_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A streamed server is asked who it is, for one page, and for one stream; it sees by whom."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        settled(scene)
        for _ in range(5):
            scene.hears()
        assert (scene.asked("instance"), scene.asked("streaming")) == (1, 1)
        assert scene.asked("timeline") <= 2
        assert all(CONTACT in seen.user_agent for seen in simulator.servers[0].requests)
