"""Responses that servers should not send: redirects, too much, nonsense, impossible times.

Each test counts the requests that the server received.
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
from mastodon_pipeline_tests.support.scene import (
    STEADY,
    come_no_earlier,
    duplicates,
    holds_for,
    listening_to,
    pauses,
)
from mastodon_pipeline_tests.support.simulated_servers import (
    CONTACT,
    ENDPOINTS,
    POLLED,
    SHORT_RESET,
    STREAMED,
    quiet,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

MEGABYTE = 2**20


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_redirect_to_another_host_is_not_followed(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token, rate limit and counts are the configured server's; a person configures a move."""
    policy = POLLED if endpoint == "timeline" else STREAMED
    with (
        Simulator(quiet(ServerPolicy("thief.example"))) as elsewhere,
        Simulator(quiet(policy)) as simulator,
    ):
        target = elsewhere.servers[0].base_url
        simulator.fault("redirect", endpoint=endpoint, target=target, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            here = simulator.servers[0].base_url.split("://")[1]
            scene.wait_for("parked", here, target.split("://")[1])
            requests = scene.requests()
            assert holds_for(lambda: scene.requests() == requests, 0.5)
        assert elsewhere.asked() == 0


def test_redirect_on_the_same_host_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(quiet(STREAMED, POLLED)) as simulator:
        for server in (0, 1):
            simulator.fault("redirect", server, seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.receive_toot(0)
            scene.receive_toot(1)
            assert scene.requests("streaming", 0) == 2


def test_advertised_streaming_address_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large servers stream from a separate host; `configuration.urls.streaming` names it."""
    with Simulator(quiet(replace(STREAMED, streams_apart=True))) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.receive_toot()
        server = simulator.servers[0]
        hosts = {request.endpoint: request.host for request in server.requests}
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
def test_advertised_address_is_checked_like_a_configured_one(url: str) -> None:
    """Otherwise a server could leak our token, or send us into a private network. Shows G8."""

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
def test_no_response_exhausts_memory(
    endpoint: Endpoint, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """64 MiB, compressed to 64 kB or not, cost us a fraction, and the server one response.

    Shows G6.
    """
    with Simulator(quiet(POLLED if endpoint == "timeline" else STREAMED)) as simulator:
        simulator.fault(fault, endpoint=endpoint, megabytes=64, seconds=3600)
        tracemalloc.start()
        try:
            with listening_to(simulator, monkeypatch, backoff=Backoff(3600, 3600)) as scene:
                scene.wait_until_failing(endpoint)
                assert tracemalloc.get_traced_memory()[1] < 48 * MEGABYTE
                assert scene.requests(endpoint) == 1
        finally:
            tracemalloc.stop()


def test_html_page_with_status_200_is_no_response(monkeypatch: pytest.MonkeyPatch) -> None:
    """As from a captive portal, or a hosting provider's error page."""
    policies = [POLLED if at == "timeline" else STREAMED for at in ENDPOINTS]
    policies = [replace(policy, domain=at) for policy, at in zip(policies, ENDPOINTS, strict=True)]
    with Simulator(quiet(*policies)) as simulator:
        for server, endpoint in enumerate(ENDPOINTS):
            simulator.fault("garbage", server, endpoint=endpoint, seconds=3600, **SHORT_RESET)
        since = time.monotonic()
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            for server, endpoint in enumerate(ENDPOINTS):
                scene.wait_until_failing(endpoint, server=server)
                if endpoint == "instance":  # Without it the server is followed all the same.
                    assert scene.requests(endpoint, server) <= 2
                else:
                    assert come_no_earlier(scene.request_times(endpoint, server), since)
                simulator.fault("clear", server)
            for server in range(len(ENDPOINTS)):
                scene.receive_toot(server)


def test_server_that_ignores_min_id_is_not_polled_in_a_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its page is always full and always the newest: it counts as the end until the next poll."""
    policies = [replace(policy, ignores_min_id=True) for policy in (POLLED, STREAMED)]
    with Simulator(quiet(*policies)) as simulator:
        for server in (0, 1):
            for _ in range(60):
                simulator.publish(server)
        with listening_to(simulator, monkeypatch) as scene:
            scene.receive_toot(0)
            scene.wait_until_connected(server=1)
            scene.receive_toot(1)
            simulator.fault("cut", 1)
            wait_until(lambda: scene.statistics(1).gaps_filled == 2, "the end of the gap")
            requests = scene.requests("timeline", 0)
            wait_until(lambda: scene.requests("timeline", 0) >= requests + 4, "four polls")
            assert min(pauses(scene.request_times("timeline", 0)[requests:])) >= 0.2
            # A busy machine may lose its stream once more, and fill another gap.
            assert scene.requests("timeline", 1) <= 3 * (scene.statistics(1).gaps_filled + 1)
        assert duplicates(scene.sink.uris()) == {}


def test_oversized_event_is_a_dead_letter_and_the_stream_stays_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_until_connected()
        server = simulator.servers[0]
        frame = Frame("update", b'{"id": "1", "content": "%b"}' % (b"x" * 5 * MEGABYTE))
        simulator.call(lambda: server.streams.send_to_all(frame))
        scene.receive_toot()
        [letter] = scene.sink.dead_letters
        assert "larger than" in letter.reason
        assert len(letter.payload) <= 4 * MEGABYTE
        assert scene.statistics().connects == 1


# Clocks and languages


STRANGE = """{"id": "%d", "uri": "https://odd.example/%d", "created_at": "%s", "language": %s,
 "account": {"username": "odd", "acct": "odd@odd.example"}, "content": "<p>odd</p>"}"""


def test_odd_times_and_languages_are_recorded_and_future_times_clamped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The author's server claims the post time, which may be in any year."""
    now = time.time_ns() // 1_000_000
    cases = [
        ("9999-12-31T23:59:59.000Z", '"zh-CN"', None, "zh"),
        ("2001-02-03T04:05:06.789Z", '"DE_at"', 981_173_106_789, "de"),
        ("1969-12-31T23:59:59.999Z", "null", -1, ""),
        ("2020-01-01T01:00:00+01:00", '"x-Klingon"', 1_577_836_800_000, ""),
    ]
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_until_connected()
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


def test_streamed_server_gets_one_stream_few_requests_and_our_contact(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One request for instance info, one stream and one or two pages. Shows G7."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_until_connected()
        for _ in range(5):
            scene.receive_toot()
        assert (scene.requests("instance"), scene.requests("streaming")) == (1, 1)
        assert scene.requests("timeline") <= 2
        assert all(CONTACT in r.user_agent for r in simulator.servers[0].requests)
