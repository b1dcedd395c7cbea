"""Network faults: silence, broken and refused connections, TLS, DNS.

Each test counts the requests that the server received: no hot loop.
"""

import ssl
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trustme

from infra.simulator.faults import Endpoint
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.scene import FAST, STEADY, Scene, come_no_earlier, listening_to
from mastodon_pipeline_tests.support.simulated_servers import (
    ENDPOINTS,
    POLLED,
    SHORT_RESET,
    STREAMED,
    inject_faults,
    policy_for,
    quiet,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

# Silence


def test_silent_stream_is_reopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open connection gives no error; after four missing heartbeats it counts as dead."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_until_connected()
        simulator.fault("silence")
        missed = simulator.publish()
        scene.wait_for("waiting", "silent")
        simulator.fault("speak")
        scene.wait_for_toots([missed])
        scene.receive_toot()
        assert scene.requests("streaming") <= 3


def test_server_that_accepts_but_never_answers_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request times out. Shows G6."""
    with Simulator(quiet(*map(policy_for, ENDPOINTS, ENDPOINTS))) as simulator:
        servers = inject_faults(simulator, [{"endpoint": at} for at in ENDPOINTS], "hang")
        since = time.monotonic()
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            for server in servers:
                scene.wait_until_failing(ENDPOINTS[server], "timed out", server=server)
                check_attempts(scene, ENDPOINTS[server], server, since)
                simulator.fault("clear", server)
            for server in servers:
                scene.receive_toot(server)


@pytest.mark.parametrize(
    ("kind", "endpoints"),
    [("trickle", ("instance", "timeline")), ("slow_header", ("instance", "timeline", "streaming"))],
)
def test_response_that_trickles_times_out(
    kind: str, endpoints: tuple[Endpoint, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A byte now and then keeps every read alive: the whole response has a limit too. Shows G6."""
    with Simulator(quiet(*map(policy_for, endpoints, endpoints))) as simulator:
        servers = inject_faults(simulator, [{"endpoint": at} for at in endpoints], kind)
        since = time.monotonic()
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            for server in servers:
                scene.wait_until_failing(endpoints[server], "timed out", server=server)
                check_attempts(scene, endpoints[server], server, since)
                simulator.fault("clear", server)
            for server in servers:
                scene.receive_toot(server)


# Servers that end at once, 5xx, TLS, DNS


def test_stream_that_ends_at_once_is_not_reopened_in_a_hot_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An accepted stream is no success yet: the waits grow until one has lasted a minute."""
    with Simulator(
        quiet(*(policy_for("streaming", name) for name in ("ends", "breaks")))
    ) as simulator:
        simulator.fault("hang_up", 0, endpoint="streaming", seconds=3600)
        simulator.fault("cut_body", 1, endpoint="streaming", seconds=3600)
        since = time.monotonic()
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "ended", server=0)
            scene.wait_for("waiting", "broke", server=1)
            for server in (0, 1):
                wait_until(lambda s=server: scene.requests("streaming", s) > 3, "more attempts")  # type: ignore[misc]
                timeline = scene.requests("timeline", server)
                assert scene.requests("instance", server) == 1
                assert timeline <= 2 * (scene.requests("streaming", server) + 1)
                assert come_no_earlier(scene.request_times("streaming", server), since)
                simulator.fault("clear", server)
            scene.receive_toot(0)
            scene.receive_toot(1)


def test_server_that_is_down_is_tried_again_with_growing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reason shows the HTTP status."""
    patient = replace(FAST, request_seconds=60.0)  # a server is asked once what it is
    cases = [(status, at) for status in (500, 503) for at in ENDPOINTS]
    policies = [policy_for(at, f"{at}{status}") for status, at in cases]
    with Simulator(quiet(*policies)) as simulator:
        faults = [{"status": status, "endpoint": at, **SHORT_RESET} for status, at in cases]
        servers = inject_faults(simulator, faults)
        since = time.monotonic()
        with listening_to(simulator, monkeypatch, timings=patient, backoff=STEADY) as scene:
            for server, (status, at) in zip(servers, cases, strict=True):
                scene.wait_until_failing(at, str(status), server=server)
                check_attempts(scene, at, server, since)
                simulator.fault("clear", server)
            for server in servers:
                scene.receive_toot(server)


def test_reset_and_refused_connections_are_reported_and_retried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("drop", seconds=3600)
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "connection reset")
            simulator.fault("clear")
            scene.wait_until_connected()
            simulator.fault("restart", seconds=4)
            scene.wait_for("waiting", "connection refused")
            missed = simulator.publish()
            scene.wait_for_toots([missed])
            assert scene.requests() < 20


# TLS and names


def test_server_with_an_untrusted_certificate_gets_no_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Least of all one with the token. Shows G8."""
    with Simulator(quiet(replace(STREAMED, tls=certified()[1]))) as simulator:
        with listening_to(simulator, monkeypatch, backoff=STEADY) as scene:
            scene.wait_for("waiting", "certificate")
            time.sleep(0.5)
        assert simulator.asked() == 0


def test_redirect_from_https_to_http_is_not_followed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is the same host, but the token would be sent in plain text."""
    authority, context = certified()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "authority.pem"))
    with Simulator(quiet(replace(STREAMED, tls=context), replace(POLLED, tls=context))) as secure:
        for server, endpoint in enumerate(("streaming", "timeline")):
            insecure = secure.servers[server].base_url.replace("https", "http")
            secure.fault("redirect", server, endpoint=endpoint, target=insecure, seconds=3600)
        with listening_to(secure, monkeypatch) as scene:
            for server in (0, 1):
                scene.wait_for("parked", "https to http", server=server)
            for server in (0, 1):
                secure.fault("clear", server)
        with listening_to(secure, monkeypatch) as scene:
            scene.receive_toot(0)
            scene.receive_toot(1)


def test_unknown_host_name_is_reported_and_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be the resolver's fault."""
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(
            simulator, monkeypatch, others=["http://no-such-server.invalid"], backoff=STEADY
        ) as scene,
    ):
        unknown = next(s for s in scene.listener.statistics if s.server.name.endswith(".invalid"))
        wait_until(lambda: "DNS" in unknown.reason, "the reason")
        assert unknown.state == "waiting"
        scene.receive_toot()


def check_attempts(scene: Scene, endpoint: Endpoint, server: int, since: float) -> None:
    """Check that an endpoint that fails was asked, and ever less often.

    A server that does not describe itself is followed all the same: that is asked for once.
    """
    if endpoint == "instance":
        assert 0 < scene.requests(endpoint, server) <= 2
    else:
        assert scene.requests(endpoint, server) > 0
        assert come_no_earlier(scene.request_times(endpoint, server), since)


def certified() -> tuple[trustme.CA, ssl.SSLContext]:
    """Return a certificate authority, and a server's TLS context with its loopback certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return authority, context
