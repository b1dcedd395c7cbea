"""Injected faults: servers misbehave exactly as configured, and only until the fault ends."""

import json
import ssl
import time
import zlib
from datetime import datetime

import pytest
import requests

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from infra.simulator.weather import CALM
from mastodon_pipeline_tests.infra.simulator.api import INSTANCE, STREAM, TIMELINE, get
from mastodon_pipeline_tests.support.simulated_servers import quiet

pytestmark = pytest.mark.thorough

MEGABYTE = 2**20


@pytest.mark.parametrize("endpoint", ["instance", "timeline", "streaming"])
def test_fault_can_be_limited_to_one_endpoint(endpoint: str) -> None:
    """Every request is recorded, faulty or not."""
    with Simulator(quiet()) as simulator:
        server = simulator.servers[0]
        simulator.fault("answer", status=410, endpoint=endpoint)
        answers = {"instance": INSTANCE, "timeline": TIMELINE, "streaming": STREAM}
        for name, path in answers.items():
            with get(server, path, stream=True) as response:
                assert response.status_code == (410 if name == endpoint else 200)
            assert simulator.asked(name) == 1  # type: ignore[arg-type]
        assert simulator.asked() == 3
        records = simulator.call(lambda: list(server.requests))
        assert {(record.token, record.host) for record in records} == {
            (True, f"127.0.0.1:{server.port}")
        }


@pytest.mark.parametrize("form", ["iso", "epoch", "retry_after", "none"])
def test_429_has_its_reset_in_the_configured_form(form: str) -> None:
    """Mastodon sends ISO 8601; others send epoch seconds, Retry-After, or nothing."""
    with Simulator(quiet()) as simulator:
        simulator.fault("answer", status=429, reset=form, reset_seconds=30)
        headers = get(simulator.servers[0], TIMELINE).headers
    text = headers.get("X-RateLimit-Reset")
    if form == "iso":
        assert text is not None
        assert 25 < datetime.fromisoformat(text).timestamp() - time.time() <= 30
    elif form == "epoch":
        assert text is not None
        assert 25 < int(text) - time.time() <= 31
    else:
        assert text is None
    assert headers.get("Retry-After") == ("30" if form == "retry_after" else None)


def test_redirect_leads_to_the_same_path_here_or_elsewhere() -> None:
    """With a mark, so that it is not redirected again."""
    with Simulator(quiet(ServerPolicy("a.example"), ServerPolicy("b.example"))) as simulator:
        here, there = simulator.servers
        simulator.fault("redirect")
        assert get(here, INSTANCE).json()["domain"] == "a.example"
        assert simulator.asked(server=0) == 2
        simulator.fault("redirect", target=there.base_url)
        assert get(here, INSTANCE).json()["domain"] == "b.example"
        assert simulator.asked(server=1) == 1


def test_hanging_server_accepts_and_never_answers() -> None:
    with Simulator(quiet()) as simulator:
        simulator.fault("hang", seconds=3600)
        url = f"{simulator.servers[0].base_url}/api/{INSTANCE}"
        with pytest.raises(requests.ReadTimeout):
            requests.get(url, timeout=0.2)
        assert simulator.asked("instance") == 1


def test_answers_can_end_early_or_never() -> None:
    """A stream that greets and ends, an empty body, an endless and a cut one."""
    with Simulator(quiet()) as simulator:
        server = simulator.servers[0]
        simulator.fault("hang_up")
        assert get(server, STREAM).content == b":)\n"
        assert get(server, TIMELINE).content == b""
        simulator.fault("trickle")
        with get(server, TIMELINE, stream=True) as response:
            spaces = response.iter_content(1)
            assert [next(spaces) for _ in range(3)] == [b" "] * 3
        simulator.fault("cut_body")
        with pytest.raises(requests.RequestException, match=r"prematurely|reset|broken"):
            get(server, TIMELINE)


def test_bomb_is_small_and_decompresses_to_the_configured_size() -> None:
    with Simulator(quiet()) as simulator:
        simulator.fault("bomb", megabytes=8)
        response = get(simulator.servers[0], INSTANCE, stream=True)
        packed = response.raw.read(decode_content=False)
        assert response.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 16 * 1024
    assert len(zlib.decompress(packed, wbits=31)) == 8 * MEGABYTE


def test_lines_and_headers_can_be_endless() -> None:
    """Also a page of garbage, and the end of all faults."""
    with Simulator(quiet()) as simulator:
        server = simulator.servers[0]
        simulator.fault("endless_line", megabytes=2)
        body = get(server, STREAM).content
        assert 2 * MEGABYTE < len(body) < 2 * MEGABYTE + 100
        assert body.count(b"\n") == 1
        simulator.fault("endless_header", megabytes=2)
        with pytest.raises(requests.RequestException):
            get(server, INSTANCE)
        simulator.fault("garbage")
        assert get(server, INSTANCE).content.startswith(b"<html>")
        simulator.fault("clear")
        assert get(server, INSTANCE).json()["domain"] == server.policy.domain


def test_restart_ends_streams_and_refuses_connections_for_a_while() -> None:
    """Toots published meanwhile are in the timeline afterwards, on the same port."""
    with Simulator(quiet()) as simulator:
        server = simulator.servers[0]
        with get(server, STREAM, stream=True) as stream:
            simulator.fault("restart", seconds=3)
            assert stream.raw.read() == b":)\n"
        with pytest.raises(requests.ConnectionError):
            get(server, TIMELINE)
        uri = simulator.publish()
        simulator.wait_until(lambda: bool(simulator.fediverse.addresses))
        assert [status["uri"] for status in get(server, TIMELINE).json()] == [uri]


@pytest.mark.parametrize("size", [1, 7])
def test_streams_can_be_split_at_any_byte(size: int) -> None:
    """The same event arrives in HTTP chunks of N bytes."""
    with Simulator(quiet(weather=CALM)) as simulator:
        server = simulator.servers[0]
        with get(server, STREAM, stream=True) as stream:
            chunks = stream.iter_content(None)
            assert next(chunks) == b":)\n"
            simulator.fault("pieces", piece_bytes=size)
            uri = simulator.publish()
            simulator.call(server.streams.end)
            rest = list(chunks)
    assert {len(chunk) for chunk in rest[:-1]} == {size}
    name, data = b"".join(rest).split(b"\n", 1)
    assert (name, json.loads(data[6:])["uri"]) == (b"event: update", uri)


def test_stream_lines_can_end_with_crlf() -> None:
    """As the specification allows."""
    with Simulator(quiet(weather=CALM)) as simulator:
        server = simulator.servers[0]
        with get(server, STREAM, stream=True) as stream:
            simulator.fault("crlf")
            simulator.publish()
            simulator.call(server.streams.end)
            body = stream.raw.read()
    assert body.startswith(b":)\nevent: update\r\ndata: {")
    assert body.endswith(b"}\r\n\r\n")


def test_late_fetched_toots_have_backdated_ids() -> None:
    """They are listed below earlier toots, are in the truth, and are streamed."""
    servers = (ServerPolicy("observer.example"), ServerPolicy("home.example"))
    with Simulator(quiet(*servers)) as simulator:
        first = simulator.publish()
        late = simulator.fetch_late(0, 1, seconds_ago=300)
        listed = get(simulator.servers[0], TIMELINE).json()
        assert [status["uri"] for status in listed] == [first, late], "newest id first"
        assert {toot.uri for toot in simulator.truth()} == {first, late}


def test_streaming_can_have_a_separate_address() -> None:
    """The instance names it, like mastodon.social's."""
    with Simulator(quiet(ServerPolicy("a.example", streams_apart=True))) as simulator:
        server = simulator.servers[0]
        named = get(server, INSTANCE).json()["configuration"]["urls"]["streaming"]
        assert named == f"ws://127.0.0.1:{server.streaming_port}"
        assert server.streaming_port != server.port
        with requests.get(
            f"{server.streaming_url}/api/{STREAM}",
            params={"access_token": server.tokens.user},
            stream=True,
            timeout=300,
        ) as stream:
            assert stream.status_code == 200
            simulator.wait_until(lambda: len(server.streams) == 1)


def test_server_can_serve_https() -> None:
    """With a certificate made by the test, which no client trusts by default."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with Simulator(quiet(ServerPolicy("tls.example", tls=context))) as simulator:
        assert simulator.servers[0].base_url.startswith("https://127.0.0.1:")
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(simulator.servers[0].base_url, timeout=300)


def test_faults_can_be_injected_over_the_control_port() -> None:
    """An unknown fault is refused with the help."""
    with Simulator(quiet(), control_port=0) as simulator:
        server, fault = simulator.servers[0], f"{simulator.control_url}/fault"
        order = {"kind": "answer", "status": "429", "endpoint": "timeline", "reset": "epoch"}
        assert requests.post(fault, params=order, timeout=300).status_code == 200
        refused = get(server, TIMELINE)
        assert refused.status_code == 429
        assert refused.headers["X-RateLimit-Reset"].isdigit()
        assert get(server, INSTANCE).status_code == 200
        for wrong in ({"endpoint": "nowhere"}, {"reset": "soon"}, {"kind": "nonsense"}):
            answer = requests.post(fault, params=order | wrong, timeout=300)
            assert answer.status_code == 400
            assert "POST /fault" in answer.text
