"""The stack's ports: how they are set and checked, and which process uses one."""

import os
import socket
from dataclasses import astuple

import pytest

from infra.native_stack import Ports, StackError
from infra.native_stack.ports import LOOPBACK, in_use, port_owner


def test_port_variables_override_the_defaults() -> None:
    """Each port has a variable of its name; an empty one counts as unset."""
    ports = Ports.from_environment({"KAFKA_PORT": "19092", "DAGSTER_PORT": ""})

    assert ports.kafka_port == 19092
    assert (ports.registry_port, ports.connect_port, ports.minio_port) == (8081, 8083, 9000)
    assert ports.dagster_port == 3000


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "9092 "])
def test_invalid_port_is_refused_with_its_variables_name(text: str) -> None:
    """A mistyped port is an error at once, not a server that does not start."""
    with pytest.raises(StackError, match=r"REGISTRY_PORT=.* is not a port"):
        Ports.from_environment({"REGISTRY_PORT": text})


def test_two_services_cannot_share_a_port() -> None:
    """Elsewhere the registry's management port defaults to MinIO's: such a conflict is reported."""
    with pytest.raises(StackError, match=r"REGISTRY_MANAGEMENT_PORT=9000, .*MINIO_PORT=9000"):
        Ports.from_environment({"REGISTRY_MANAGEMENT_PORT": "9000"})


def test_free_ports_are_unused_and_distinct() -> None:
    """So tests can run beside a demo."""
    ports = Ports.free()

    assert len(set(astuple(ports))) == len(astuple(ports))
    assert not any(in_use(port) for port in astuple(ports))


def test_used_port_and_its_owner_are_detected() -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]

        owner = port_owner(port)

        assert in_use(port)
        assert owner is not None
        assert owner.pid == os.getpid()
    assert not in_use(port)
    assert port_owner(port) is None
