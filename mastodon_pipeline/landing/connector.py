"""Applies the sink connector's configuration, and waits until the connector runs.

What can lose toots here, and what protects them:

* A connector that starts while the registry is down, with nothing cached in its converter, would
  put good records into the dead-letter topic, since bad records are tolerated: the connector is
  configured only once the registry answers.
* A topic that does not exist yet would stay unread until the consumer's next metadata refresh: the
  topics are created first.
* A control topic that was made again has lower offsets than the Iceberg table says are committed:
  see `table_repairs`.
* A deleted connector keeps its consumer group, and a new one continues at the committed offsets.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from mastodon_pipeline.errors import (
    CatalogUnavailable,
    ConnectorError,
    ConnectRefused,
    ConnectUnavailable,
    RegistryUnavailable,
)
from mastodon_pipeline.kafka import NewTopic, new_topic
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.landing.connect_rest import ConnectorStatus, ConnectRest
from mastodon_pipeline.landing.connector_config import CONTROL_TOPIC, connector_config
from mastodon_pipeline.landing.rebuilding import begin_again_without_metadata
from mastodon_pipeline.landing.table_repairs import (
    migrate_table,
    needs_migration,
    repair_control_offsets,
)
from mastodon_pipeline.listening.topic.registry import (
    refuses_us,
    registry_client,
    registry_problem,
)
from mastodon_pipeline.listening.topic.topics import ensure_listening_topics
from mastodon_pipeline.settings import Settings

READY_WITHIN_SECONDS = 120.0
RUNNING_WITHIN_SECONDS = 120.0
SETTLED_AFTER_SECONDS = 3.0
POLL_SECONDS = 0.5
PROGRESS_EVERY_SECONDS = 5.0
START_ATTEMPTS = 3

Log = Callable[[str], object]

_HINTS = (
    (r"Unable to load credentials|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|\b403\b",
     "the Connect worker's process needs AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY of the store"),
    (r"NotFoundException: Location does not exist|NoSuchKey",
     "the bucket lost the Iceberg table's metadata. Restore the bucket; or, if it was deleted for"
     " good, let the sink begin a new table: DELETE FROM iceberg_tables in the catalog of"
     " ICEBERG_CATALOG_URI, then run the job kafka_connect_config"),
    (r"NoSuchBucket", "the bucket that S3_BUCKET names does not exist"),
    (r"moved to PostgreSQL", "LAKE_CATALOG_URI must name the database that it was moved to"),
    (r"PSQLException|postgresql",
     "the catalog's database must answer where Connect runs: LAKE_CATALOG_URI, and the password in"
     " the environment of Connect's worker"),
    (r"SQLITE|sqlite|jdbc|JDBC", "ICEBERG_CATALOG_URI must be writable where Connect runs"),
    (r"NoClassDefFound|ClassNotFound",
     "the plugin's jars are incomplete: run `make clean`, then `make up`"),
    (r"[Rr]egistry", "CONNECT_REGISTRY_URL must be reachable from Connect"),
    (r"Connection refused|UnknownHost|HttpConnect|Unable to execute HTTP request",
     "CONNECT_S3_ENDPOINT, or S3_ENDPOINT, must be reachable from Connect"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class AppliedConnector:
    """The applied configuration, the keys that had to change, and the resulting state."""

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
    """Make the sink run with the wanted configuration; doing it again changes nothing.

    `wanted` is the reviewed configuration unless given. Failed tasks are restarted, with
    `restart_tasks` the running ones too. Takes up to some minutes if the stack is still starting,
    and logs what it waits for.

    Raises PipelineError, which says what is wrong and how to fix it.
    """
    wanted = wanted or connector_config(settings)
    if ensure_bucket(settings):
        log(f"created the bucket {settings.s3_bucket}")
    if created := ensure_listening_topics(settings, *_control_topic(settings)):
        log(f"created the topics {', '.join(created)}")
    _wait_for_registry(settings, log)
    with ConnectRest.of(settings) as connect:
        _wait_for_plugin(connect, wanted["connector.class"], log)
        _validate(connect, wanted)
        name = settings.connector_name
        removed = settings.sink == "iceberg" and _prepare_table(settings, connect, log)
        before = None if removed else connect.status(name)
        changed = drifted_keys(wanted, None if removed else connect.config(name))
        if changed:
            change = f"changing {', '.join(changed)}" if before else "creating it"
            log(f"applying the config of {name}: {change}")
            connect.put_config(name, wanted)
        elif restart_tasks or (before is not None and before.failures):
            log(f"restarting {name}: {before.summary if before else 'no status'}")
            connect.restart(name, only_failed=not restart_tasks)
        status = _wait_until_running(connect, name, log)
    return AppliedConnector(wanted, changed, status)


def drifted_keys(wanted: dict[str, str], running: dict[str, str] | None) -> tuple[str, ...]:
    """Return the keys, sorted, in which a running configuration differs; all keys if none runs."""
    actual = running or {}
    return tuple(
        sorted(key for key in wanted.keys() | actual.keys() if wanted.get(key) != actual.get(key))
    )


def root_cause(trace: str) -> str:
    """Return a Java stack trace on one line: its first line and its innermost cause."""
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    ends = [line[:300] for line in (lines[:1] + causes[-1:])]
    return " <- ".join(dict.fromkeys(ends)) or "no trace was given"


def _prepare_table(settings: Settings, connect: ConnectRest, log: Log) -> bool:
    """Bring the Iceberg table to where the sink can go on; return whether it took the connector.

    A connector that is gone when this is interrupted is created by the next run, which goes on with
    what is left to do. Its place in the topic is its group's.
    """
    if begin_again_without_metadata(settings, connect, log):
        return True
    exists = connect.status(settings.connector_name) is not None
    try:
        migrates = needs_migration(settings)
        if migrates:
            _stop(settings, connect, log)
            log(f"migrated {settings.iceberg_table}: {', '.join(migrate_table(settings))}")
        if repaired := repair_control_offsets(settings):
            log(repaired)
    except (CatalogUnavailable, OSError) as error:
        # No table yet, or none that can be read from here.
        if exists:
            log(f"{settings.iceberg_table} was not checked: {error}")
        return exists and connect.status(settings.connector_name) is None
    return migrates


def _stop(settings: Settings, connect: ConnectRest, log: Log) -> None:
    """Delete the connector, so that nothing brings a table's former columns back."""
    name = settings.connector_name
    connect.delete(name)
    if not _wait(
        lambda: connect.status(name) is None,
        RUNNING_WITHIN_SECONDS,
        log,
        lambda: f"waiting for {name} to stop",
    ):
        raise ConnectorError(f"{name} does not stop, so its table cannot be migrated")


def _control_topic(settings: Settings) -> tuple[NewTopic, ...]:
    return (new_topic(settings, CONTROL_TOPIC),) if settings.sink == "iceberg" else ()


def _wait_for_registry(settings: Settings, log: Log) -> None:
    def answers() -> bool:
        try:
            with registry_client(settings) as client:
                client.get_subjects()
        except Exception as error:
            if refuses_us(error):
                raise RegistryUnavailable(registry_problem(settings, error)) from None
            return False
        return True

    if not _wait(answers, READY_WITHIN_SECONDS, log, lambda: "waiting for the schema registry"):
        raise RegistryUnavailable(
            f"the schema registry at {settings.schema_registry_url} does not answer: start the"
            " native stack with `make up`, or set SCHEMA_REGISTRY_URL"
        )


def _wait_for_plugin(connect: ConnectRest, plugin: str, log: Log) -> None:
    plugins: frozenset[str] = frozenset()

    def answers() -> bool:
        nonlocal plugins
        try:
            plugins = connect.plugins()
        except ConnectUnavailable:
            return False
        except ConnectRefused as error:
            if error.status >= httpx.codes.INTERNAL_SERVER_ERROR:
                return False  # the worker is up, and not in its group yet
            raise
        return True

    if not _wait(answers, READY_WITHIN_SECONDS, log, lambda: "waiting for Kafka Connect"):
        connect.plugins()  # raises the error that says why
    if plugin not in plugins:
        raise ConnectorError(
            f"Kafka Connect at {connect.url} has no plugin {plugin}: put its jars on the worker's"
            " plugin.path, or choose another SINK"
        )


def _validate(connect: ConnectRest, config: dict[str, str]) -> None:
    problems = connect.validate(config)
    if problems:
        objections = "; ".join(f"{problem.key}: {problem.message}" for problem in problems)
        raise ConnectorError(
            f"Kafka Connect rejects the config of {config['name']}: {objections}. Its template is"
            " in mastodon_pipeline/schemas/, its values come from the settings"
        )


def _wait_until_running(connect: ConnectRest, name: str, log: Log) -> ConnectorStatus:
    """Wait until the connector runs; restart what fails at its start, a few times.

    If SINK_TASKS is more than one, tasks that meet an empty catalog all create its tables, and the
    slower ones fail at that; restarted, they find the tables.
    """
    for attempts_left in reversed(range(START_ATTEMPTS)):
        status = _settled_status(connect, name, log)
        if status.running:
            log(f"{name}: {status.summary}")
            return status
        part, trace = next(iter(status.failures.items()))
        failure = f"{name}: {part} failed: {root_cause(trace)}"
        if attempts_left:
            log(f"{failure}. Restarting it")
            connect.restart(name)
    raise ConnectorError(f"{failure}. {_hint(trace)}")


def _settled_status(connect: ConnectRest, name: str, log: Log) -> ConnectorStatus:
    """Return the status once everything runs, or something failed, and stays so for a while.

    Right after a change, Connect still reports the tasks of the previous configuration.
    """
    status: ConnectorStatus | None = None
    since = time.monotonic()

    def settled() -> bool:
        nonlocal status, since
        before, status = status, connect.status(name)
        if status is None or status != before:
            since = time.monotonic()
            return False
        ended = status.running or bool(status.failures)
        return ended and time.monotonic() - since >= SETTLED_AFTER_SECONDS

    def progress() -> str:
        return f"waiting for {name}: {status.summary if status else 'no status yet'}"

    if not _wait(settled, RUNNING_WITHIN_SECONDS, log, progress) or status is None:
        raise ConnectorError(
            f"{name} does not run after {RUNNING_WITHIN_SECONDS:.0f} s"
            f" ({status.summary if status else 'Kafka Connect has no status of it'}). {_hint('')}"
        )
    return status


def _hint(trace: str) -> str:
    hints = [hint for pattern, hint in _HINTS if re.search(pattern, root_cause(trace))]
    return (hints[0] if hints else "Kafka Connect's log has more; `make status` says where") + "."


def _wait(
    condition: Callable[[], bool], timeout_seconds: float, log: Log, progress: Callable[[], str]
) -> bool:
    """Wait for `condition`; log `progress` every few seconds. Return whether it came true."""
    start = logged_at = time.monotonic()
    while not condition():
        now = time.monotonic()
        if now - start > timeout_seconds:
            return False
        if now - logged_at >= PROGRESS_EVERY_SECONDS:
            logged_at = now
            log(f"{progress()} ({now - start:.0f} s)")
        time.sleep(POLL_SECONDS)
    return True
