"""Kafka's errors in words: librdkafka's own are a code and a sentence about its threads."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from mastodon_pipeline.errors import KafkaUnavailable, SettingsError
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.tls import handshake_problem, speaks_tls

_POLL_SECONDS = 0.1
_NO_CONNECTION = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
    }
)
_REASON_SECONDS = 2.0


@contextmanager
def kafka_errors(settings: Settings) -> Iterator[None]:
    """Turn a KafkaException into a KafkaUnavailable, one line that a person can act on."""
    try:
        yield
    except KafkaException as error:
        where = f"Kafka at {settings.kafka_bootstrap_servers}"
        if error.args[0].code() == KafkaError.INVALID_REPLICATION_FACTOR:
            raise KafkaUnavailable(
                f"{where} has fewer brokers up than a new topic is to have replicas: start them, or"
                " set KAFKA_TOPIC_REPLICATION_FACTOR"
            ) from None
        problem = None
        if error.args[0].code() in _NO_CONNECTION:
            problem = security_problem(settings)
        raise KafkaUnavailable(
            f"{where} {problem}"
            if problem
            else f"{where} does not answer ({error.args[0].str()}); "
            "start the native stack with `make up`, or set KAFKA_BOOTSTRAP_SERVERS"
        ) from None


@contextmanager
def client_config_errors() -> Iterator[None]:
    """Turn librdkafka's refusal of a client's properties into a SettingsError."""
    try:
        yield
    except KafkaException as error:
        reason = " ".join(error.args[0].str().split())
        raise SettingsError(
            f"KAFKA_SECURITY_PROTOCOL, KAFKA_SASL_... and KAFKA_SSL_CA_LOCATION: {reason}"
        ) from None


def security_problem(settings: Settings) -> str | None:
    """Return why the brokers refuse us, or why we do not trust them; None if it is neither.

    A failed call says only that no broker was reached: librdkafka tells the reason to a callback.
    Takes some seconds at most.
    """
    reasons: list[KafkaError] = []
    config: dict[str, Any] = {**settings.kafka_client_config(), "error_cb": reasons.append}
    with client_config_errors():
        client = AdminClient({**config, "log_level": 0})
    deadline = time.monotonic() + _REASON_SECONDS
    while time.monotonic() < deadline:
        client.poll(_POLL_SECONDS)
        for reason in reasons:
            if problem := _problem(settings, reason):
                return problem
            if "Connection refused" in reason.str():
                return None
        reasons.clear()
    return _protocol_problem(settings)


def _problem(settings: Settings, reason: KafkaError) -> str | None:
    if reason.code() == KafkaError._AUTHENTICATION:
        return (
            "refuses us: check KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and"
            f" KAFKA_SASL_PASSWORD ({_short(reason)})"
        )
    if reason.code() == KafkaError._SSL:
        problem = handshake_problem(*_first_broker(settings), _authorities(settings))
        return f"cannot be trusted: {problem or _short(reason)}"
    return None


def _protocol_problem(settings: Settings) -> str | None:
    """Return what does not fit a broker that closes connections: librdkafka does not say.

    Nor does it always say in time, on a busy machine, what is wrong with a certificate.
    """
    broker = _first_broker(settings)
    if "SSL" not in (settings.kafka_security_protocol or ""):
        speaks = speaks_tls(*broker)
        return "speaks TLS: set KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL" if speaks else None
    if problem := handshake_problem(*broker, _authorities(settings)):
        return f"cannot be trusted: {problem}"
    if settings.kafka_security_protocol == "SSL" and speaks_tls(*broker):
        return "closes the connection: if it asks for a user, set KAFKA_SECURITY_PROTOCOL=SASL_SSL"
    return None


def _authorities(settings: Settings) -> str | None:
    """Return the PEM file of the authorities that brokers are trusted by; None: the system's."""
    location: str | None = settings.kafka_client_config().get("ssl.ca.location")
    return location


def _first_broker(settings: Settings) -> tuple[str, int]:
    first = settings.kafka_bootstrap_servers.split(",")[0].strip()
    broker = urlsplit(f"//{first.rpartition('://')[2]}")
    return broker.hostname or "", broker.port or 9092


def _short(error: KafkaError) -> str:
    """Return an error without the client's and the broker's names and times around it."""
    text = re.sub(r"^(\[[^\]]*\]|\S+:\d+/\w+|sasl_\w+://\S+|ssl://\S+): ", "", error.str())
    return re.sub(r" \(after \d+ms.*?\)", "", " ".join(text.split()))
