"""What networks do to a listener: silence, broken and refused connections, TLS, DNS.

Each test counts the requests that the server saw: no hot loop.
"""

import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from infra.simulator.faults import Endpoint
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import wait_until
from mastodon_pipeline_tests.support.scene import (
    ATTEMPTS,
    ENDPOINTS,
    POLLED,
    SOON,
    STEADY,
    STREAMED,
    listening_to,
    one_a_case,
    quiet,
    settled,
    suited,
)

pytestmark = pytest.mark.thorough

# Silence


def test_a_stream_that_falls_silent_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open connection gives no error; after four missing heartbeats it counts as dead."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        settled(scene)
        simulator.fault("silence")
        missed = simulator.publish()
        scene.wait_for("waiting", "silent")
        simulator.fault("speak")
        scene.wait_for_toots([missed])
        scene.hears()
        assert scene.asked("streaming") <= 3


def test_a_server_that_accepts_and_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half-open, before an answer: the request is given up, and the server tried again."""
    with Simulator(quiet(*map(suited, ENDPOINTS, ENDPOINTS))) as simulator:
        servers = one_a_case(simulator, [{"endpoint": at} for at in ENDPOINTS], "hang")
        with listening_to(simulator, monkeypatch) as scene:
            for server in servers:
                scene.wait_for("waiting", "timed out", server=server)
                assert scene.asked(ENDPOINTS[server], server) <= 2
                simulator.fault("clear", server)
            for server in servers:
                scene.hears(server)


def test_an_answer_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then keeps every read alive: the answer as a whole has a limit too."""
    endpoints: tuple[Endpoint, ...] = ("instance", "timeline")
    with Simulator(quiet(*map(suited, endpoints, endpoints))) as simulator:
        servers = one_a_case(simulator, [{"endpoint": at} for at in endpoints], "trickle")
        with listening_to(simulator, monkeypatch) as scene:
            for server in servers:
                scene.wait_for("waiting", "timed out", server=server, seconds=5)
                assert scene.asked(endpoints[server], server) <= 2
                simulator.fault("clear", server)
            for server in servers:
                scene.hears(server)


# Servers that end at once, 5xx, TLS, DNS


def test_a_stream_that_opens_and_ends_is_not_opened_in_a_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An accepted stream is no success yet: the waits grow until one has held for a minute."""
    with Simulator(quiet(*(suited("streaming", name) for name in ("ends", "breaks")))) as simulator:
        simulator.fault("hang_up", 0, endpoint="streaming", seconds=60)
        simulator.fault("cut_body", 1, endpoint="streaming", seconds=60)
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "ended", server=0)
            scene.wait_for("waiting", "broke", server=1)
            time.sleep(1.5)
            for server in (0, 1):
                assert 1 < scene.asked("streaming", server) <= ATTEMPTS
                assert scene.asked("instance", server) <= ATTEMPTS
                assert scene.asked("timeline", server) <= 2 * ATTEMPTS
                simulator.fault("clear", server)
            scene.hears(0)
            scene.hears(1)


def test_a_server_that_is_down_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With growing waits, and the status shown."""
    cases = [(status, at) for status in (500, 503) for at in ENDPOINTS]
    policies = [suited(at, f"{at}{status}") for status, at in cases]
    with Simulator(quiet(*policies)) as simulator:
        faults = [{"status": status, "endpoint": at, **SOON} for status, at in cases]
        servers = one_a_case(simulator, faults)
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            for server, (status, at) in zip(servers, cases, strict=True):
                scene.wait_for("waiting", str(status), server=server)
                assert 0 < scene.asked(at, server) <= ATTEMPTS
                simulator.fault("clear", server)
            for server in servers:
                scene.hears(server)


def test_connections_that_are_dropped_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reset before a word, a port that nobody listens on: said as such, and tried again."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("drop", seconds=60)
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "connection reset")
            simulator.fault("clear")
            settled(scene)
            simulator.fault("restart", seconds=1)
            scene.wait_for("waiting", "connection refused")
            missed = simulator.publish()
            scene.wait_for_toots([missed])
            assert scene.asked() < 20


# TLS and names


def test_a_certificate_that_nobody_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one request goes over such a connection, and the token least of all."""
    with Simulator(quiet(replace(STREAMED, tls=certified()[1]))) as simulator:
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "certificate")
            time.sleep(0.5)
        assert simulator.asked() == 0


def test_a_redirect_from_https_to_http_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The same host, but the token would travel in the open."""
    authority, context = certified()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with Simulator(quiet(replace(STREAMED, tls=context), replace(POLLED, tls=context))) as secure:
        for server, endpoint in enumerate(("streaming", "timeline")):
            insecure = secure.servers[server].base_url.replace("https", "http")
            secure.fault("redirect", server, endpoint=endpoint, target=insecure, seconds=60)
        with listening_to(secure, monkeypatch) as scene:
            for server in (0, 1):
                scene.wait_for("parked", "https to http", server=server)
            for server in (0, 1):
                secure.fault("clear", server)
        with listening_to(secure, monkeypatch) as scene:
            scene.hears(0)
            scene.hears(1)


def test_a_name_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS says no: said as such, and tried again later, for it may be the resolver's fault."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(
            simulator, monkeypatch, others=["http://no-such-server.invalid"], backoff=STEADY
        ) as scene,
    ):
        unknown = next(s for s in scene.listener.statistics if s.server.name.endswith(".invalid"))
        wait_until(lambda: "DNS" in unknown.reason, "the reason")
        assert unknown.state == "waiting"
        scene.hears()


def certified() -> tuple[trustme.CA, ssl.SSLContext]:
    """An authority of our own, and a server's side of TLS with its certificate for loopback."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context
