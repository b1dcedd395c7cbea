"""The stack's ports: where they come from, and what a person is told when one is taken."""

import socket
from dataclasses import astuple

import pytest

from infra.native_stack import Ports, StackError
from infra.native_stack.ports import LOOPBACK, holder, in_use


def test_every_port_can_be_set_and_the_others_keep_their_defaults() -> None:
    """Each port has a variable of its name; the defaults are those the settings expect."""
    ports = Ports.from_environment({"KAFKA_PORT": "19092", "DAGSTER_PORT": ""})

    assert ports.kafka_port == 19092
    assert (ports.registry_port, ports.connect_port, ports.minio_port) == (8081, 8083, 9000)
    assert ports.dagster_port == 3000


@pytest.mark.parametrize("text", ["0", "65536", "-1", "http", "9092 "])
def test_what_is_no_port_is_refused_by_its_variables_name(text: str) -> None:
    """A mistyped port is an error at once, not a server that does not start."""
    with pytest.raises(StackError, match=r"REGISTRY_PORT=.* is not a port"):
        Ports.from_environment({"REGISTRY_PORT": text})


def test_two_parts_cannot_share_a_port() -> None:
    """The registry's management port defaults to MinIO's in other set-ups: such a clash is told."""
    with pytest.raises(StackError, match=r"REGISTRY_MANAGEMENT_PORT=9000, .*MINIO_PORT=9000"):
        Ports.from_environment({"REGISTRY_MANAGEMENT_PORT": "9000"})


def test_free_ports_are_free_and_all_different() -> None:
    """Tests run beside a demo."""
    ports = Ports.free()

    assert len(set(astuple(ports))) == len(astuple(ports))
    assert not any(in_use(port) for port in astuple(ports))


def test_a_taken_port_and_its_holder_are_found() -> None:
    """`in_use` sees a listener, and `holder` says whose it is."""
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        port = server.getsockname()[1]

        held = holder(port)

        assert in_use(port)
        assert held is not None
        assert held.is_running()
    assert not in_use(port)
    assert holder(port) is None
