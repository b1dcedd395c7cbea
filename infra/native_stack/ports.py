"""The stack's ports: which, who holds them, and how to move away."""

import errno
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass, fields

import psutil

from infra.native_stack.errors import StackError

LOOPBACK = "127.0.0.1"


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

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Ports":
        """The ports as the environment sets them, the defaults for the rest.

        Raises StackError for a port that is no number from 1 to 65535, or that is named twice.
        """
        values = {}
        for field in fields(cls):
            text = environment.get(field.name.upper())
            if text:
                if not text.isdecimal() or not 0 < int(text) < 65536:
                    raise StackError(f"{field.name.upper()}={text} is not a port: 1 to 65535")
                values[field.name] = int(text)
        ports = cls(**values)
        if len(set(astuple(ports))) < len(fields(cls)):
            names = ", ".join(f"{name}={port}" for name, port in ports.variables())
            raise StackError(f"two parts of the stack cannot share a port: {names}")
        return ports

    @classmethod
    def free(cls) -> "Ports":
        """Ports that nobody listens on now; for tests. Another program may still take one."""
        with ExitStack() as held:
            sockets = [held.enter_context(socket.socket()) for _ in fields(cls)]
            for one in sockets:
                one.bind((LOOPBACK, 0))
            return cls(*(one.getsockname()[1] for one in sockets))

    def variables(self) -> Iterator[tuple[str, int]]:
        """Each port with the environment variable that sets it."""
        for field in fields(self):
            yield field.name.upper(), getattr(self, field.name)

    def variable(self, port: int) -> str:
        """The environment variable that sets this port, or '' where it is none of ours."""
        return next((name for name, value in self.variables() if value == port), "")


def in_use(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    with socket.socket() as one:
        # As the servers do: connections that linger in TIME_WAIT do not count.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((LOOPBACK, port))
        except OSError as error:
            if error.errno == errno.EACCES:
                raise StackError(
                    f"port {port} may not be used by you; choose one over 1023"
                ) from None
            return True
    return False


def holder(port: int) -> psutil.Process | None:
    """The process that listens on this port, or None where the system does not tell."""
    try:
        for connection in psutil.net_connections("tcp"):
            listening = connection.status == psutil.CONN_LISTEN
            if listening and connection.laddr and connection.laddr.port == port and connection.pid:
                return psutil.Process(connection.pid)
    except (psutil.Error, OSError):
        pass
    return None
