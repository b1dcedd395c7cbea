"""The proxy before MinIO."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from mastodon_pipeline_tests.chaos.store_proxy import StoreProxy
from mastodon_pipeline_tests.support.serving import serving


class Store(BaseHTTPRequestHandler):
    """Answers each request with its path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.path)))
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def proxy() -> Iterator[StoreProxy]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Store)
    with serving(server), StoreProxy(server.server_port) as proxy:
        yield proxy


def test_proxy_passes_requests_on_refuses_them_and_passes_them_again(proxy: StoreProxy) -> None:
    with httpx.Client(base_url=f"http://127.0.0.1:{proxy.port}", timeout=300) as client:
        assert client.get("/a").text == "/a"
        proxy.set_mode("refuse")
        time.sleep(0.2)
        refused = client.get("/a")
        assert refused.status_code == 503
        assert "<Code>SlowDown</Code>" in refused.text
        proxy.set_mode("pass")
        time.sleep(0.2)
        assert [client.get("/b").text, client.get("/c").text] == ["/b", "/c"]


@pytest.mark.thorough
def test_slow_proxy_answers_late(proxy: StoreProxy) -> None:
    proxy.set_mode("slow")
    began = time.monotonic()
    assert httpx.get(f"http://127.0.0.1:{proxy.port}/a", timeout=300).text == "/a"
    assert time.monotonic() - began >= 1.0


def test_proxy_without_a_store_ends_the_connection() -> None:
    with StoreProxy(1) as proxy, pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"http://127.0.0.1:{proxy.port}/a", timeout=300)
