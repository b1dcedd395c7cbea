"""Whether a part of the stack answers. Probes are quick and raise nothing."""

import logging
import socket
from collections.abc import Callable

import requests
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from infra.native_stack.errors import StackError

Probe = Callable[[], bool]

_SILENT = logging.getLogger("infra.native_stack.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def http_ok(url: str) -> Probe:
    """A probe: does GET of this URL answer 200?"""

    def probe() -> bool:
        try:
            return requests.get(url, timeout=2).status_code == 200
        except requests.RequestException:
            return False

    return probe


def dagster_daemons_healthy(url: str) -> Probe:
    """A probe: does Dagster's webserver say that every required daemon has a fresh heartbeat?"""
    query = "{instance{daemonHealth{allDaemonStatuses{required healthy}}}}"

    def probe() -> bool:
        try:
            answer = requests.post(f"{url}/graphql", json={"query": query}, timeout=5).json()
            daemons = answer["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        except (requests.RequestException, KeyError, TypeError):
            return False
        required = [daemon for daemon in daemons if daemon["required"]]
        return bool(required) and all(daemon["healthy"] for daemon in required)

    return probe


def kafka_serves(host: str, port: int) -> Probe:
    """A probe: does the broker answer for its cluster?"""

    def probe() -> bool:
        try:
            socket.create_connection((host, port), timeout=1).close()
            metadata = _admin(f"{host}:{port}").list_topics(timeout=2)
        except (OSError, KafkaException):
            return False
        return bool(metadata.brokers)

    return probe


def ensure_topic(bootstrap_servers: str, topic: str, partitions: int = 1) -> None:
    """Creates a Kafka topic where it is not there.

    Raises StackError where the broker refuses.
    """
    admin = _admin(bootstrap_servers)
    created = admin.create_topics([NewTopic(topic, partitions, 1)], request_timeout=20)
    try:
        created[topic].result()
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise StackError(f"Kafka did not create topic {topic}: {error}") from None


def _admin(bootstrap_servers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap_servers}, logger=_SILENT)
