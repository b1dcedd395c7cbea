"""Does this container's program answer? Asked by the container engine every few seconds.

Eight containers are asked all day, so this imports the standard library alone, but for gRPC. What
to ask is in a file that the container wrote when it started, see `roles`.

A program that runs and is silent is killed, and the engine starts its container again: with the
patience of `infra.native_stack.watchdog`.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import struct
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path

DIRECTORY = Path(tempfile.gettempdir())
CHECK, SILENCE = "health.json", "silence.json"
LOOK_SECONDS, SILENT_LOOKS, STARTING_LOOKS = 9.0, 6, 72
"""As in `infra.native_stack.watchdog`, which takes too long to import."""
_TIMEOUT_SECONDS = 5.0
_API_VERSIONS = struct.pack(">ihhih", 10, 18, 0, 1, -1)
"""Kafka's simplest request: which API versions are there? It has the correlation id 1."""
_DAEMONS = "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}"


@dataclass(frozen=True, slots=True)
class Check:
    """What to ask. By kind: `none`, `http`, `kafka`, `grpc` (a service by name), `daemons`."""

    kind: str = "none"
    host: str = "127.0.0.1"
    port: int = 0
    path: str = ""
    """Or the service of `grpc`."""
    user: str = ""
    password: str = ""
    needs: tuple[tuple[str, int], ...] = ()
    """Hosts and ports without which silence is not the program's fault."""

    def write(self, directory: Path = DIRECTORY) -> None:
        """Keep it for the engine's questions, readable by this user alone."""
        path = directory / CHECK
        path.unlink(missing_ok=True)
        (directory / SILENCE).unlink(missing_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(asdict(self), file)

    @classmethod
    def read(cls, directory: Path = DIRECTORY) -> "Check":
        """Read it; raises OSError if the container has not come to that yet."""
        values = json.loads((directory / CHECK).read_text())
        return cls(**{**values, "needs": tuple((host, port) for host, port in values["needs"])})


def answers(check: Check) -> bool:
    """Return whether the program answers, within a few seconds."""
    ask = {"http": _http, "kafka": _kafka, "grpc": _grpc, "daemons": _daemons}.get(check.kind)
    try:
        return ask is None or ask(check)
    except (OSError, HTTPException, ValueError, KeyError, TypeError):
        return False


def count_silence(answered: bool, blameless: bool, directory: Path = DIRECTORY) -> bool:
    """Count a look; return whether the program has been silent for too long.

    However often somebody asks, it is one look in a while.
    """
    path, now = directory / SILENCE, time.monotonic()
    looks, has_answered, looked_at = 0, False, 0.0
    with contextlib.suppress(OSError, ValueError):
        looks, has_answered, looked_at = json.loads(path.read_text())
    if answered:
        looks, has_answered = 0, True
    elif not blameless and now - looked_at >= LOOK_SECONDS:
        looks, looked_at = looks + 1, now
    path.write_text(json.dumps([looks, has_answered, looked_at]))
    return looks >= (SILENT_LOOKS if has_answered else STARTING_LOOKS)


def _http(check: Check) -> bool:
    connection = HTTPConnection(check.host, check.port, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        connection.request("GET", check.path, headers=_login(check))
        return connection.getresponse().status == 200


def _daemons(check: Check) -> bool:
    connection = HTTPConnection(check.host, check.port, timeout=_TIMEOUT_SECONDS)
    with contextlib.closing(connection):
        body, headers = json.dumps({"query": _DAEMONS}), {"Content-Type": "application/json"}
        connection.request("POST", "/graphql", body, headers)
        data = json.load(connection.getresponse())["data"]
    statuses = data["instance"]["daemonHealth"]["allDaemonStatuses"]
    required = [status["healthy"] for status in statuses if status["required"]]
    return bool(required) and all(required)


def _kafka(check: Check) -> bool:
    with socket.create_connection((check.host, check.port), _TIMEOUT_SECONDS) as connection:
        connection.sendall(_API_VERSIONS)
        answer = connection.recv(64)
        return len(answer) >= 10 and struct.unpack(">ih", answer[4:10]) == (1, 0)


def _grpc(check: Check) -> bool:
    import grpc  # type: ignore[import-untyped]
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

    try:
        with grpc.insecure_channel(f"{check.host}:{check.port}") as channel:
            request = health_pb2.HealthCheckRequest(service=check.path)
            stub = health_pb2_grpc.HealthStub(channel)
            answer = stub.Check(request, timeout=_TIMEOUT_SECONDS)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def _login(check: Check) -> dict[str, str]:
    if not check.user:
        return {}
    token = base64.b64encode(f"{check.user}:{check.password}".encode()).decode()
    return {"Authorization": f"Basic {token}"}


def _connects(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), 2):
        return True
    return False


def _kill_program() -> None:
    """Kill what the container's init started: then the container ends, and is started again."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((process / "stat").read_text().rpartition(")")[2].split()[1])
            # What the engine runs in the container, such as this, has no parent in it.
            if parent == 1:
                os.kill(int(process.name), signal.SIGKILL)


def main() -> int:
    """Return 0 if the program answers, else 1."""
    try:
        check = Check.read()
    except OSError:
        return 1
    answered = answers(check)
    blameless = not answered and not all(_connects(host, port) for host, port in check.needs)
    if count_silence(answered, blameless):
        _kill_program()
    return 0 if answered else 1


if __name__ == "__main__":
    sys.exit(main())
