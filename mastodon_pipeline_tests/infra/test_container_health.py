"""What a container engine is answered when it asks for a container's health."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra.containers import health
from infra.containers.health import Check, answers, count_silence
from infra.native_stack import watchdog


class _Handler(BaseHTTPRequestHandler):
    daemons: list[dict[str, bool]] = []

    def do_GET(self) -> None:
        """Answer 200 to one path and one login."""
        known = (self.path, self.headers.get("Authorization")) == ("/health", "Basic dTpwOnc=")
        self._answer(200 if known else 401, b"")

    def do_POST(self) -> None:
        """Answer as Dagster's webserver does."""
        statuses = {"daemonHealth": {"allDaemonStatuses": self.daemons}}
        self._answer(200, json.dumps({"data": {"instance": statuses}}).encode())

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@contextmanager
def http_server() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_service_is_asked_with_its_login() -> None:
    with http_server() as port:
        assert answers(Check("http", port=port, path="/health", user="u", password="p:w"))
        assert not answers(Check("http", port=port, path="/health"))


def test_daemon_is_healthy_if_every_required_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with http_server() as port:
        check = Check("daemons", port=port)
        assert not answers(check), "none has started yet"
        statuses = [{"required": True, "healthy": True}, {"required": False, "healthy": False}]
        monkeypatch.setattr(_Handler, "daemons", statuses)
        assert answers(check)
        monkeypatch.setattr(_Handler, "daemons", [*statuses, {"required": True, "healthy": False}])
        assert not answers(check)


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [(b"\0\0\0\6\0\0\0\1\0\0rest", True), (b"\0\0\0\6\0\0\0\1\0\7rest", False), (b"", False)],
)
def test_broker_is_asked_for_its_versions(answer: bytes, healthy: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        assert answers(Check("kafka", port=server.getsockname()[1])) is healthy
        thread.join()


@pytest.mark.parametrize("kind", ["http", "kafka", "grpc", "daemons"])
def test_program_that_does_not_listen_is_unhealthy(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert not answers(Check(kind, port=port, path="/"))


def test_check_is_kept_privately_and_read_back(tmp_path: Path) -> None:
    check = Check("http", port=80, path="/", password="secret", needs=(("kafka", 9092),))
    check.write(tmp_path)
    check.write(tmp_path)

    assert Check.read(tmp_path) == check
    assert (tmp_path / health.CHECK).stat().st_mode & 0o777 == 0o600


def test_silent_program_is_killed_with_the_native_watchdogs_patience(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert health.SILENT_LOOKS == watchdog.SILENT_LOOKS
    assert health.STARTING_LOOKS == watchdog.STARTING_LOOKS
    monkeypatch.setattr(health, "LOOK_SECONDS", 0.0)

    def looks(answered_before: bool) -> int:
        count_silence(answered_before, False, tmp_path)
        return next(n for n in range(1, 99) if count_silence(False, False, tmp_path))

    assert looks(answered_before=True) == health.SILENT_LOOKS
    (tmp_path / health.SILENCE).unlink()
    assert looks(answered_before=False) == health.STARTING_LOOKS - 1
    count_silence(True, False, tmp_path)
    assert not any(count_silence(False, True, tmp_path) for _ in range(99)), "others are away"


def test_many_questions_at_once_are_one_look(tmp_path: Path) -> None:
    assert not any(count_silence(False, False, tmp_path) for _ in range(99))
