"""Three Kafka brokers and two Kafka Connect workers, from the native stack's own configuration.

Each broker and worker is the stack's program of that service, with a directory and ports of its
own. Only what makes a broker one of three is added.
"""

import base64
import uuid
from collections.abc import Iterator
from dataclasses import astuple, replace
from pathlib import Path

from infra.native_stack import Ports, Program, Stack
from infra.native_stack.ports import LOOPBACK
from infra.native_stack.programs import SERVICES, Installation, stack_programs

REPLICAS = 3
IN_SYNC = 2
BROKERS = ("kafka", "kafka-2", "kafka-3")
WORKERS = ("connect", "connect-2")
_COPIES = {
    **dict.fromkeys(
        (
            *("default.replication.factor", "offsets.topic.replication.factor"),
            *("transaction.state.log.replication.factor",),
            *("share.coordinator.state.topic.replication.factor",),
        ),
        str(REPLICAS),
    ),
    **dict.fromkeys(
        (
            *("min.insync.replicas", "transaction.state.log.min.isr"),
            *("share.coordinator.state.topic.min.isr",),
        ),
        str(IN_SYNC),
    ),
}


class ClusterStack(Stack):
    """The native stack with three brokers that keep three copies, and two Connect workers.

    The first broker and the first worker are those of the plain stack: `kafka`, `connect`.
    """

    def __init__(self, data: Path) -> None:
        self._nodes = list(_distinct_ports(len(BROKERS)))
        super().__init__(data=data, ports=self._nodes[0], say=lambda line: None)
        kafka = [f"{LOOPBACK}:{ports.kafka_port}" for ports in self._nodes]
        connect = [f"http://{LOOPBACK}:{ports.connect_port}" for ports in self._nodes]
        self.addresses = replace(
            self.addresses,
            kafka_bootstrap_servers=",".join(kafka),
            kafka_connect_url=",".join(connect[: len(WORKERS)]),
        )
        self._cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")

    def broker(self, node: int) -> str:
        """Return the program of the broker with this id, as Kafka's metadata has it."""
        return BROKERS[node - 1]

    def worker(self, worker_id: str) -> str:
        """Return the program of a worker, by its id in a connector's status."""
        port = int(worker_id.rpartition(":")[2])
        return next(
            name
            for name, ports in zip(WORKERS, self._nodes, strict=False)
            if ports.connect_port == port
        )

    def _services(self, stack: Installation) -> list[Program]:
        nodes = [self._node(stack, number) for number in range(len(BROKERS))]
        services = [program for program in stack_programs(nodes[0]) if program.name != "connect"]
        services += [self._copy("kafka", nodes[number], number) for number in (1, 2)]
        services += [self._copy("connect", nodes[number], number) for number in (0, 1)]
        return services

    def _node(self, stack: Installation, number: int) -> Installation:
        voters = (
            f"{node}@{LOOPBACK}:{ports.kafka_controller_port}"
            for node, ports in enumerate(self._nodes, 1)
        )
        data = stack.data / f"node-{number + 1}" if number else stack.data
        identity = data / "kafka" / "cluster-id"
        identity.parent.mkdir(parents=True, exist_ok=True)
        identity.write_text(self._cluster_id)
        return replace(
            stack,
            data=data,
            ports=self._nodes[number],
            broker_properties={
                "node.id": str(number + 1),
                "controller.quorum.voters": ",".join(voters),
                **_COPIES,
            },
        )

    def _copy(self, service: str, node: Installation, number: int) -> Program:
        program = SERVICES[service](node)
        others = BROKERS[1:] if service == "connect" else ()
        return replace(
            program,
            name=f"{service}-{number + 1}" if number else service,
            depends_on=(*program.depends_on, *others),
        )


def _distinct_ports(count: int) -> Iterator[Ports]:
    used: set[int] = set()
    while count:
        ports = Ports.free()
        numbers = {port for port in astuple(ports) if port}
        if not used & numbers:
            used |= numbers
            count -= 1
            yield ports
