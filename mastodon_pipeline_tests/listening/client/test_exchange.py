"""A whole exchange has one deadline: afterwards there is no thread and no socket of it.

Servers that send a byte now and then, each read of which is in time.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from requests import RequestException

from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import LoginFailed, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.login import Login
from mastodon_pipeline.listening.client.session import ServerSession
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.tables.server_activity import fetch_server_report
from mastodon_pipeline_tests.support.simulated_servers import POLLED, quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

TIMEOUT_SECONDS = 0.3
"""The exchange may take three times as long."""
LATEST_SECONDS = 60.0
"""Without a deadline each of these exchanges would go on until the test is stopped."""
OK = b"HTTP/1.1 200 OK\r\n"
SCRIPTS = {
    "header": (OK, b"X-Slow: "),
    "status line": (b"", b"HTTP/1.1 2"),
    "continue": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": (OK + b"Content-Length: 1000000\r\n\r\n", b" "),
    "body without a length": (OK + b"\r\n", b" "),
    "chunks": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "redirects": (b"", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: /again\r\n\r\n"),
}
"""What a server sends at once, and then every tenth of a second."""


class SlowServer:
    """Answers each connection by a script until the client leaves."""

    def __init__(self, script: str) -> None:
        self._first, self._then = SCRIPTS[script]
        self._pause_seconds = 0.1
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.open = 0
        self._stopped = False

    @contextmanager
    def serving(self) -> Iterator["SlowServer"]:
        threads = [threading.Thread(target=self._accept, daemon=True)]
        threads[0].start()
        try:
            yield self
        finally:
            self._stopped = True
            self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.open += 1
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            connection.recv(65536)
            connection.settimeout(self._pause_seconds)
            connection.sendall(self._first)
            while not self._stopped:
                try:
                    if not connection.recv(65536):
                        break
                    connection.sendall(self._first)  # the next request
                except TimeoutError:
                    connection.sendall(self._then)
        self.open -= 1


def exceed_the_deadline(session: ServerSession, url: str) -> None:
    """Ask for a URL, and see the exchange end at its deadline.

    A busy machine may keep a single read waiting for its timeout: then it is asked for again.
    """
    while True:
        with pytest.raises((Unreachable, RequestException), match="timed out") as raised:
            session.get(url, timeout=TIMEOUT_SECONDS)
        if isinstance(raised.value, Unreachable):
            return


@pytest.mark.parametrize("script", SCRIPTS)
def test_slow_exchange_ends_at_its_deadline(script: str) -> None:
    """And its connection with it. Shows G6."""
    with SlowServer(script).serving() as server, ServerSession("test", True) as session:
        began, threads = time.monotonic(), threading.active_count()
        exceed_the_deadline(session, f"http://127.0.0.1:{server.port}/")
        assert time.monotonic() - began < LATEST_SECONDS
        wait_until(lambda: server.open == 0, "the connection is closed")
        wait_until(lambda: threading.active_count() <= threads + 1, "no thread is left")


def test_slow_answer_through_a_proxy_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's own answer to CONNECT is slow."""
    with SlowServer("header").serving() as proxy, ServerSession("test") as session:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        exceed_the_deadline(session, "https://a.invalid/")
        wait_until(lambda: proxy.open == 0, "the connection is closed")


def test_slow_tls_handshake_ends_at_its_deadline() -> None:
    """A record that announces many bytes and sends one now and then."""
    SCRIPTS["tls"] = (b"\x16\x03\x03\x40\x00\x02\x00\x30\x00", b"\x00")
    with SlowServer("tls").serving() as server, ServerSession("test", True) as session:
        # Python's timeout is for the whole handshake, and shorter.
        with pytest.raises((Unreachable, RequestException), match="timed out"):
            session.get(f"https://127.0.0.1:{server.port}/", timeout=TIMEOUT_SECONDS)
        wait_until(lambda: server.open == 0, "the connection is closed")


def test_many_addresses_that_do_not_answer_share_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name may have fifty addresses, each of which swallows what is sent."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        info = (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [info] * 50)
        began = time.monotonic()
        with ServerSession("test", True) as session:
            exceed_the_deadline(session, "http://many.example/")
        assert time.monotonic() - began < LATEST_SECONDS
        for each in waiting:
            each.close()


def test_next_exchange_of_a_session_has_its_own_deadline() -> None:
    """A person pastes a code minutes after the first exchange of a login."""
    with Simulator(quiet(POLLED)) as simulator, ServerSession("test", True) as session:
        url = f"{simulator.servers[0].base_url}/api/v1/instance"
        simulator.fault("slow_header", seconds=3600)
        exceed_the_deadline(session, url)
        simulator.fault("clear")
        answers = 0
        while answers < 3:
            began = time.monotonic()
            try:
                assert session.get(url, timeout=TIMEOUT_SECONDS).status_code == 200
                answers += 1
            except (Unreachable, RequestException):
                # On a busy machine, but no earlier than by a timeout of its own.
                assert time.monotonic() - began >= TIMEOUT_SECONDS
            time.sleep(4 * TIMEOUT_SECONDS / 3)


def test_all_answers_of_a_report_share_a_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a server's answers may be slow. Shows G6."""
    with Simulator(quiet(POLLED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        server = parse_server(simulator.servers[0].base_url)
        for path in ("/api/v2/instance", "/api/v1/instance/activity"):
            simulator.fault("slow_header", seconds=3600, endpoint="instance", path=path)
            began = time.monotonic()
            report = fetch_server_report(server, settings, date(2026, 12, 1), seconds=1)
            assert report.reason == "timed out"
            assert time.monotonic() - began < LATEST_SECONDS


def test_login_at_a_slow_server_ends_at_its_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one line."""
    with Simulator(quiet(POLLED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        simulator.fault("slow_header", seconds=3600)
        server = parse_server(simulator.servers[0].base_url)
        with (
            Login(server, settings, TIMEOUT_SECONDS) as login,
            pytest.raises(LoginFailed, match="timed out"),
        ):
            login.begin()


def test_addresses_are_checked_before_one_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them: the second may be tried after the first. Shows G8."""
    infos = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.216.34", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    with ServerSession("test") as session, pytest.raises(UnsafeAddress, match=r"10\.0\.0\.1"):
        session.get("https://a.example/", timeout=TIMEOUT_SECONDS)


def test_websocket_that_goes_on_sending_is_closed_all_the_same() -> None:
    """It does not answer our closing frame, and sends message after message. Shows G6."""

    async def flood(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoclose=False)
        await socket.prepare(request)
        with suppress(ConnectionError):
            while True:
                await socket.send_str("{}")
                await asyncio.sleep(0.05)
        return socket

    async def open_and_leave() -> float:
        app = web.Application()
        app.router.add_get("/", flood)
        async with TestServer(app) as server:
            settings = Settings(mastodon_allow_private_addresses=True)
            async with Connections(settings) as connections:
                async with connections.websocket(f"ws://127.0.0.1:{server.port}/", "token"):
                    left_at = time.monotonic()
                return time.monotonic() - left_at

    assert asyncio.run(open_and_leave()) < LATEST_SECONDS
