"""Puts the sink connector's configuration in force, and waits until it runs.

What can lose toots here, and what protects them:

* A connector that starts while the registry is away and its converter has nothing cached would
  put good records into the dead-letter topic, since bad records are tolerated: the connector is
  configured only once the registry answers.
* A topic that does not exist yet would go unread until the consumer looks again: the topics are
  made first.
* A deleted connector keeps its consumer group, and a new one goes on at the committed offsets.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import NewTopic  # type: ignore[attr-defined]  # not in its __all__

from mastodon_pipeline.errors import (
    ConnectorError,
    ConnectRefused,
    ConnectUnavailable,
    RegistryUnavailable,
)
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.landing.connect_rest import ConnectorStatus, ConnectRest
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC, connector_config
from mastodon_pipeline.listening.topic.topics import admin_client, ensure_topics, unreachable
from mastodon_pipeline.settings import Settings

READY_WITHIN_S = 120.0
RUNNING_WITHIN_S = 120.0
STARTS = 3
SETTLED_S = 3.0
KAFKA_WITHIN_S = 15.0
POLL_S = 0.5
PROGRESS_EVERY_S = 5.0

Log = Callable[[str], object]

_HINTS = (
    (r"Unable to load credentials|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|\b403\b",
     "the Connect worker's process needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the store"),
    (r"NoSuchBucket", "S3_BUCKET names a bucket that is not there"),
    (r"SQLITE|sqlite|jdbc|JDBC", "ICEBERG_CATALOG_URI must be writable where Connect runs"),
    (r"NoClassDefFound|ClassNotFound", "the plugin's jars are incomplete; `make clean` and again"),
    (r"[Rr]egistry", "CONNECT_REGISTRY_URL must be reachable from Connect"),
    (r"Connection refused|UnknownHost|HttpConnect|Unable to execute HTTP request",
     "CONNECT_S3_ENDPOINT, or S3_ENDPOINT, must be reachable from Connect"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AppliedConnector:
    """The configuration in force, what had to change for it, and the state it led to."""

    config: dict[str, str]
    changed: tuple[str, ...]
    status: ConnectorStatus


def apply_connector_config(
    settings: Settings,
    log: Log,
    *,
    wanted: dict[str, str] | None = None,
    restart_tasks: bool = False,
) -> AppliedConnector:
    """Makes the sink run with the wanted configuration; doing it again changes nothing.

    `wanted` is the reviewed configuration unless given. Failed tasks are restarted, with
    `restart_tasks` the running ones too. Takes up to some minutes where the stack is still
    starting, and logs what it waits for.

    Raises PipelineError that says what is wrong and what mends it.
    """
    wanted = wanted or connector_config(settings)
    if ensure_bucket(settings):
        log(f"made the bucket {settings.s3_bucket}")
    if made := _ensure_topics(settings):
        log(f"made the topics {', '.join(made)}")
    _wait_for_registry(settings, log)
    with ConnectRest(settings.kafka_connect_url) as connect:
        _wait_for_plugin(connect, wanted["connector.class"], log)
        _validate(connect, wanted)
        name = settings.connector_name
        before = connect.status(name)
        changed = drifted_keys(wanted, connect.config(name))
        if changed:
            what = f"changing {', '.join(changed)}" if before else "there is none yet"
            log(f"putting the config of {name}: {what}")
            connect.put_config(name, wanted)
        elif restart_tasks or (before is not None and before.failures):
            log(f"restarting {name}: {before.summary if before else 'no status'}")
            connect.restart(name, only_failed=not restart_tasks)
        status = _start(connect, name, log)
    return AppliedConnector(wanted, changed, status)


def drifted_keys(wanted: dict[str, str], running: dict[str, str] | None) -> tuple[str, ...]:
    """The keys, sorted, in which a running configuration differs; all of them where none runs."""
    actual = running or {}
    return tuple(
        sorted(key for key in wanted.keys() | actual.keys() if wanted.get(key) != actual.get(key))
    )


def root_cause(trace: str) -> str:
    """A Java stack trace on one line: its first line and its innermost cause."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    told = [line[:300] for line in (lines[:1] + causes[-1:])]
    return " <- ".join(dict.fromkeys(told)) or "no trace was given"


def _ensure_topics(settings: Settings) -> tuple[str, ...]:
    made = ensure_topics(settings)
    if settings.sink != "iceberg":
        return made
    admin = admin_client(settings)  # kept: its end would cancel what it was asked for
    try:
        if CONTROL_TOPIC in admin.list_topics(timeout=KAFKA_WITHIN_S).topics:
            return made
        topic = NewTopic(CONTROL_TOPIC, num_partitions=1)
        admin.create_topics([topic])[CONTROL_TOPIC].result(KAFKA_WITHIN_S)
    except KafkaException as error:
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # made between two calls
            raise unreachable(settings, error) from None
    return (*made, CONTROL_TOPIC)


def _wait_for_registry(settings: Settings, log: Log) -> None:
    url = settings.schema_registry_url.rstrip("/")

    def answers() -> bool:
        try:
            return httpx.get(f"{url}/subjects", timeout=5).is_success
        except httpx.HTTPError:
            return False

    if not _wait(answers, READY_WITHIN_S, log, "waiting for the schema registry"):
        raise RegistryUnavailable(
            f"the schema registry at {url} does not answer: start the native stack with"
            " `make up`, or set SCHEMA_REGISTRY_URL"
        )


def _wait_for_plugin(connect: ConnectRest, plugin: str, log: Log) -> None:
    found: frozenset[str] = frozenset()

    def answers() -> bool:
        nonlocal found
        try:
            found = connect.plugins()
        except ConnectUnavailable:
            return False
        except ConnectRefused as error:
            if error.status >= httpx.codes.INTERNAL_SERVER_ERROR:
                return False  # the worker is up, and not in its group yet
            raise
        return True

    if not _wait(answers, READY_WITHIN_S, log, "waiting for Kafka Connect"):
        connect.plugins()  # raises the error that says why
    if plugin not in found:
        raise ConnectorError(
            f"Kafka Connect at {connect.url} has no plugin {plugin}: put its jars on the worker's"
            " plugin.path, or choose another SINK"
        )


def _validate(connect: ConnectRest, config: dict[str, str]) -> None:
    problems = connect.validate(config)
    if problems:
        told = "; ".join(f"{problem.key}: {problem.message}" for problem in problems)
        raise ConnectorError(
            f"Kafka Connect rejects the config of {config['name']}: {told}. Its template is in"
            " mastodon_pipeline/schemas/, its values come from the settings"
        )


def _start(connect: ConnectRest, name: str, log: Log) -> ConnectorStatus:
    """Waits until the connector runs; what fails at its start is started again, a few times.

    Where SINK_TASKS is more than one, tasks that meet an empty catalog both make its tables, and
    the slower one fails at that; started again it finds them made.
    """
    for starts_left in reversed(range(STARTS)):
        status = _wait_for_outcome(connect, name, log)
        if status.running:
            log(f"{name}: {status.summary}")
            return status
        part, trace = next(iter(status.failures.items()))
        failure = f"{name}: {part} failed: {root_cause(trace)}"
        if starts_left:
            log(f"{failure}. Starting it again")
            connect.restart(name)
    raise ConnectorError(f"{failure}. {_hint(trace)}")


def _wait_for_outcome(connect: ConnectRest, name: str, log: Log) -> ConnectorStatus:
    """The status once everything runs, or something failed, and has stayed so for a while.

    Right after a change Connect still tells of the tasks before it.
    """
    status: ConnectorStatus | None = None
    since = time.monotonic()

    def settled() -> bool:
        nonlocal status, since
        before, status = status, connect.status(name)
        if status is None or status != before:
            since = time.monotonic()
            return False
        return (status.running or bool(status.failures)) and time.monotonic() - since >= SETTLED_S

    def waiting() -> str:
        return f"waiting for {name}: {status.summary if status else 'not known yet'}"

    if not _wait(settled, RUNNING_WITHIN_S, log, waiting) or status is None:
        raise ConnectorError(
            f"{name} does not run after {RUNNING_WITHIN_S:.0f} s"
            f" ({status.summary if status else 'Kafka Connect has no status of it'}). {_hint('')}"
        )
    return status


def _hint(trace: str) -> str:
    hints = [hint for pattern, hint in _HINTS if re.search(pattern, root_cause(trace))]
    return (hints[0] if hints else "Kafka Connect's log has more; `make status` says where") + "."


def _wait(
    done: Callable[[], bool], within_s: float, log: Log, saying: str | Callable[[], str]
) -> bool:
    """Whether `done` came true in time; says every few seconds what is being waited for."""
    start = said = time.monotonic()
    while not done():
        now = time.monotonic()
        if now - start > within_s:
            return False
        if now - said >= PROGRESS_EVERY_S:
            said = now
            log(f"{saying if isinstance(saying, str) else saying()} ({now - start:.0f} s)")
        time.sleep(POLL_S)
    return True
