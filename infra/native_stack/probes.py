"""Readiness probes of the stack's services. Probes are quick and raise nothing."""

import logging
import socket
from collections.abc import Callable, Set

import grpc  # type: ignore[import-untyped]
import requests
from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # they lack in its __all__
    AdminClient,
    ClusterMetadata,
)
from grpc_health.v1.health_pb2 import (  # type: ignore[import-untyped]
    HealthCheckRequest,
    HealthCheckResponse,
)
from grpc_health.v1.health_pb2_grpc import HealthStub  # type: ignore[import-untyped]

Probe = Callable[[], bool]

_SILENT = logging.getLogger("infra.native_stack.kafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


def http_ok(url: str, login: tuple[str, str] | None = None) -> Probe:
    """Build a probe: does GET of this URL, with user and password if given, answer 200?"""
    return lambda: _status(url, login) == 200


def http_fails(url: str, login: tuple[str, str]) -> Probe:
    """Build a probe: does GET of this URL answer with an internal error?"""
    return lambda: _status(url, login) == 500


def _status(url: str, login: tuple[str, str] | None) -> int | None:
    """Return the status of the answer; None if there is none."""
    try:
        return requests.get(url, auth=login, timeout=2).status_code
    except requests.RequestException:
        return None


def grpc_serves(host: str, port: int, service: str) -> Probe:
    """Build a probe: does a gRPC server report that it serves this service?"""
    request = HealthCheckRequest(service=service)

    def probe() -> bool:
        try:
            with grpc.insecure_channel(f"{host}:{port}") as channel:
                answer = HealthStub(channel).Check(request, timeout=5)
        except grpc.RpcError:
            return False
        return bool(answer.status == HealthCheckResponse.SERVING)

    return probe


def dagster_daemons_healthy(url: str) -> Probe:
    """Build a probe: does Dagster report a fresh heartbeat of every required daemon?"""
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
    """Build a probe: does the broker serve metadata of its cluster?"""
    return lambda: bool((metadata := _kafka_metadata(host, port)) and metadata.brokers)


def kafka_lacks_topics(host: str, port: int, topics: Set[str]) -> Probe:
    """Build a probe: does the broker serve metadata in which one of these topics is missing?"""
    return lambda: bool(
        (metadata := _kafka_metadata(host, port))
        and metadata.brokers
        and not topics <= metadata.topics.keys()
    )


def _kafka_metadata(host: str, port: int) -> ClusterMetadata | None:
    """Return the metadata of all topics; None if the broker does not answer."""
    try:
        socket.create_connection((host, port), timeout=1).close()
        return AdminClient({"bootstrap.servers": f"{host}:{port}"}, logger=_SILENT).list_topics(
            timeout=2
        )
    except (OSError, KafkaException):
        return None
