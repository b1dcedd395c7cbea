"""The stack's TCP ports: how they are set, and which process uses one."""

import errno
import os
import random
import socket
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, fields
from itertools import islice

import psutil

from infra.native_stack.errors import StackError

LOOPBACK = "127.0.0.1"
FREE_PORTS = range(15_000, 32_000)
"""Below those that systems give to outgoing connections, which might take one before we do."""


@dataclass(frozen=True, slots=True)
class Ports:
    """One TCP port for each listener of the stack, all on 127.0.0.1.

    Each is set by the environment variable of its name in capitals: `KAFKA_PORT`.
    """

    kafka_port: int = 9092
    kafka_controller_port: int = 9093
    registry_port: int = 8081
    registry_management_port: int = 8090
    connect_port: int = 8083
    minio_port: int = 9000
    minio_console_port: int = 9001
    dagster_port: int = 3000
    dagster_code_server_port: int = 4266
    dashboard_port: int = 8501
    metrics_port: int = 0
    """0: no metrics."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """Read the ports from the environment, with defaults for the rest.

        Raises StackError for a value that is not a number from 1 to 65535 (0 where that means off),
        or that is used twice.
        """
        values, defaults = {}, cls()
        for field in fields(cls):
            text = environment.get(field.name.upper())
            if text:
                lowest = 1 if getattr(defaults, field.name) else 0
                if not text.isdecimal() or not lowest <= int(text) < 65536:
                    raise StackError(
                        f"{field.name.upper()}={text} is not a port: {lowest} to 65535"
                    )
                values[field.name] = int(text)
        ports = cls(**values)
        used = [port for port in astuple(ports) if port]
        if len(set(used)) < len(used):
            names = ", ".join(f"{name}={port}" for name, port in ports.variables())
            raise StackError(f"two services cannot share a port: {names}")
        return ports

    @classmethod
    def free(cls) -> "Ports":
        """Return unused ports, for tests. Another program may still take one before we do."""
        wanted = [field for field in fields(cls) if field.default]
        candidates = random.SystemRandom().sample(FREE_PORTS, 500)
        unused = (port for port in candidates if not in_use(port))
        return cls(*islice(unused, len(wanted)))

    def variables(self) -> Iterator[tuple[str, int]]:
        """Yield the environment variable and the value of each port."""
        for field in fields(self):
            yield field.name.upper(), getattr(self, field.name)

    def variable(self, port: int) -> str:
        """Return the environment variable that sets this port, or '' if it is not one of ours."""
        return next((name for name, value in self.variables() if value == port), "")


def in_use(port: int) -> bool:
    """Return whether a process listens on this port of 127.0.0.1."""
    with socket.socket() as server:
        # As the real servers do: connections in TIME_WAIT do not count.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise StackError(
                    f"port {port} needs root privileges; choose one above 1023"
                ) from None
            return True
    return False


def port_owner(port: int) -> psutil.Process | None:
    """Return the process that listens on this port, or None if the system does not reveal it."""
    try:
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except (psutil.Error, OSError):
        pass
    return None
