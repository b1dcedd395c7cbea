"""The session goes only where it may."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mastodon_pipeline.listening.server_session import (
    CrossHostRedirect,
    Refused,
    ServerSession,
    UnsafeAddress,
    check_address,
)


class Redirecting(BaseHTTPRequestHandler):
    """Answers by path."""

    def do_GET(self) -> None:
        assert isinstance(self.server, HTTPServer)
        port = self.server.server_port
        targets = {
            "/away": f"http://localhost:{port}/fine",
            "/here": "/fine",
        }
        if self.path in targets:
            self.send_response(302)
            self.send_header("Location", targets[self.path])
        elif self.path == "/fine":
            self.send_response(200)
        else:
            self.send_response(410)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Redirecting) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "url",
    [
        "http://mastodon.social",
        "https://127.0.0.1",
        "https://10.1.2.3:8443",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://169.254.169.254",
        "https://[fe80::1]",
        "https://192.168.1.1",
        "https://224.0.0.1",
        "https://localhost",
    ],
)
def test_what_no_public_server_has_is_refused(url: str) -> None:
    """Plain http, loopback, private, link-local and multicast addresses, in either IP version."""
    with pytest.raises(UnsafeAddress):
        check_address(url)


def test_a_public_address_passes() -> None:
    """And so would every name with public addresses alone."""
    check_address("https://9.9.9.9")


def test_the_check_stands_before_every_request() -> None:
    """Before a byte is sent."""
    with ServerSession("test") as session, pytest.raises(UnsafeAddress):
        session.get("http://127.0.0.1:1/")


def test_a_redirect_to_another_host_is_not_followed(address: str) -> None:
    """The token, the budget and the count belong to the server that was configured."""
    with ServerSession("test", allow_private_addresses=True) as session:
        with pytest.raises(CrossHostRedirect, match="localhost"):
            session.get(f"{address}/away")
        assert session.get(f"{address}/here").status_code == 200


def test_a_streams_refusal_keeps_its_status(address: str) -> None:
    """410 parks a server, 503 does not: the code must not get lost."""
    with ServerSession("test", allow_private_addresses=True) as session:
        with pytest.raises(Refused, match="410") as refused:
            session.get(f"{address}/gone", stream=True)
        assert refused.value.status == 410
