"""The session sends requests to public addresses only, and reads bounded responses."""

import gzip
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from mastodon_pipeline.errors import CrossHostRedirect, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.session import MAX_RESPONSE_BYTES, ServerSession
from mastodon_pipeline_tests.support.serving import serving


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
        else:
            self.send_response(200)
        body = gzip.compress(bytes(MAX_RESPONSE_BYTES + 1)) if self.path == "/bomb" else b""
        if body:
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Set-Cookie", "track=me")
        self.send_header("X-RateLimit-Reset", "soon")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Redirecting)
    with serving(server):
        yield f"http://127.0.0.1:{server.server_port}"


def test_address_is_checked_before_a_request_is_sent() -> None:
    with ServerSession("test") as session, pytest.raises(UnsafeAddress):
        session.get("http://127.0.0.1:1/")


def test_redirect_to_another_host_is_not_followed(address: str) -> None:
    """Token, rate limit and counts belong to the server that was configured. Shows G8."""
    with ServerSession("test", allow_private_addresses=True) as session:
        with pytest.raises(CrossHostRedirect, match="localhost"):
            session.get(f"{address}/away")
        assert session.get(f"{address}/here").status_code == 200


def test_decompression_bomb_is_not_read_to_its_end(address: str) -> None:
    """16 MiB are more than any real response."""
    with ServerSession("test", allow_private_addresses=True) as session:
        with pytest.raises(Unreachable, match="larger than"):
            session.get(f"{address}/bomb")
        assert session.get(f"{address}/fine").content == b""


def test_cookies_are_not_stored(address: str) -> None:
    with ServerSession("test", allow_private_addresses=True) as session:
        assert session.get(f"{address}/fine").headers["Set-Cookie"]
        assert not session.cookies


def test_rate_limit_reset_is_hidden_from_mastodon_py(address: str) -> None:
    """It takes a reset that it cannot parse for an exceeded limit."""
    with ServerSession("test", allow_private_addresses=True) as session:
        assert "X-RateLimit-Reset" not in session.get(f"{address}/fine").headers
        assert session.response_headers["x-ratelimit-reset"] == "soon"


def test_name_that_is_resolved_differently_a_moment_later_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DNS may answer the check with one address and the connection with another (rebinding).

    Shows G8.
    """
    with ServerSession("test") as session, socket.create_server(("127.0.0.1", 0)) as private:
        private.settimeout(0.2)
        public = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.216.34", 443))]
        answers = [public, [(socket.AF_INET, socket.SOCK_STREAM, 6, "", private.getsockname())]]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers.pop(0))
        with pytest.raises(UnsafeAddress, match=r"127\.0\.0\.1"):
            session.get("https://a.example/", timeout=5)
        assert not answers
        with pytest.raises(TimeoutError):
            private.accept()
