"""The health of each part of the pipeline, for `mastodon-pipeline doctor`.

Nothing is changed. Each part is checked by itself, for some seconds at most, so that one that
hangs does not hide the others.
"""

import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Literal

from botocore.exceptions import ClientError
from duckdb import HTTPException, IOException

from mastodon_pipeline.cli.database_checks import check_catalog, check_history
from mastodon_pipeline.cli.kafka_checks import check_kafka
from mastodon_pipeline.cli.machine_checks import (
    Unhealthy,
    Waiting,
    check_clock,
    check_disk,
    check_limits,
    check_memory,
    check_proxy,
)
from mastodon_pipeline.errors import PipelineError, SettingsError, without_credentials
from mastodon_pipeline.lake.bucket import object_store_errors, s3_client
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.landing.health import SinkState, connector_health
from mastodon_pipeline.listening.topic.registry import (
    registry_client,
    registry_problem,
    value_subject,
)
from mastodon_pipeline.paths import OWN_FILE, data_directory
from mastodon_pipeline.settings import Settings, load_settings

APPLY_CONFIG = "dagster job execute -m mastodon_pipeline.definitions -j kafka_connect_config"
_STALE_DAEMON_SECONDS = 120.0
"""Dagster's daemons send a heartbeat every 30 s."""


@dataclass(frozen=True, slots=True)
class PartHealth:
    """The health of one part."""

    part: str
    state: Literal["healthy", "unhealthy", "waiting"]
    """`waiting`: nothing is wrong, but it has had nothing to do yet."""
    detail: str
    """One line; for an unhealthy part with what fixes it."""


def check_health() -> Iterator[PartHealth]:
    """Check every part, in the order in which a toot passes them; yield each when it is checked.

    If the settings are wrong, nothing else can be checked. Raises nothing for an unhealthy part.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        yield PartHealth("settings", "unhealthy", str(error))
        return
    for part, check in _CHECKS:
        try:
            yield PartHealth(part, "healthy", without_credentials(check(settings)))
        except Waiting as waiting:
            yield PartHealth(part, "waiting", without_credentials(str(waiting)))
        except (Unhealthy, PipelineError) as error:
            yield PartHealth(part, "unhealthy", without_credentials(str(error)))


def _servers(settings: Settings) -> str:
    servers = settings.servers()
    if not servers:
        raise Waiting("none is configured: make up SERVERS=mastodon.social")
    with_token = sum(server.token is not None for server in servers)
    line = f"{len(servers)} configured, {with_token} of them with a token"
    return "; but ".join(filter(None, (line, settings.contact_request(servers))))


def _own_file(settings: Settings) -> str:
    if not OWN_FILE.exists():
        return f"there is no {OWN_FILE}; only the environment counts"
    if OWN_FILE.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Unhealthy(f"others may read your tokens: chmod 600 {OWN_FILE}")
    return f"only you can read {OWN_FILE}"


def _registry(settings: Settings) -> str:
    subject = value_subject(settings)
    try:
        with registry_client(settings) as client:
            known = subject in client.get_subjects()
    except Exception as error:
        raise Unhealthy(registry_problem(settings, error)) from None
    if not known:
        raise Waiting(f"it has no {subject} yet: the first listener registers it")
    return f"{subject} is registered"


def _object_store(settings: Settings) -> str:
    with object_store_errors(settings), closing(s3_client(settings)) as s3:
        try:
            s3.head_bucket(Bucket=settings.s3_bucket)
        except ClientError as error:
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") != 404:
                raise
            raise Waiting(f"no bucket {settings.s3_bucket} yet: {APPLY_CONFIG}") from None
    return f"bucket {settings.s3_bucket} is there"


def _sink(settings: Settings) -> str:
    health = connector_health(settings, None, time.time())
    resume = f"{settings.connect_urls[0]}/connectors/{settings.connector_name}/resume"
    if health.state is SinkState.HEALTHY:
        return health.detail
    if health.state.needs_repair:
        raise Unhealthy(f"{health.detail}: {APPLY_CONFIG} (connector_supervisor does it by itself)")
    if health.state is SinkState.PAUSED:
        login = ' -u "$KAFKA_CONNECT_USERNAME:$KAFKA_CONNECT_PASSWORD"'
        raise Unhealthy(
            f"{health.detail}: curl -X PUT{login if settings.connect_login else ''} {resume}"
        )
    if health.state is SinkState.STARTING:
        raise Waiting(health.detail)
    raise Unhealthy(health.detail)


def _dagster(settings: Settings) -> str:
    # Here, so that the lines above need not wait a second for Dagster.
    from mastodon_pipeline.event_log import open_instance

    home = data_directory() / "dagster"
    if not (home / "dagster.yaml").exists():
        raise Unhealthy(f"it has never run in {data_directory()}: make up")
    with open_instance(home) as instance:
        statuses = instance.get_daemon_statuses()
    heartbeats = [
        status.last_heartbeat.timestamp for status in statuses.values() if status.last_heartbeat
    ]
    age = time.time() - max(heartbeats, default=0.0)
    if age > _STALE_DAEMON_SECONDS:
        since = f"its last heartbeat is {_duration(age)} old" if heartbeats else "no heartbeat yet"
        raise Unhealthy(f"no daemon runs, so no sensor or schedule does ({since}): make up")
    return f"its daemon sent a heartbeat {age:.0f} s ago"


def _tables(settings: Settings) -> str:
    table = Layout.of(settings).table("toots_per_server_per_hour")
    try:
        _object_store(settings)  # DuckDB would try for ten seconds
        with connect_lake(settings) as lake:
            newest = lake.execute("select max(file) from glob($1)", [f"{table}**"]).fetchone()
    except (HTTPException, IOException, PipelineError):
        raise Unhealthy("they cannot be read: see the object store, above") from None
    if newest is None or newest[0] is None:
        raise Waiting("no hour has been counted yet: landed_toots_sensor does it once it is on")
    day, hour = newest[0].removeprefix(table).removesuffix(".parquet").split("/")
    return f"counted up to the hour {day.removeprefix('day=')} {hour}:00 UTC"


_CHECKS: tuple[tuple[str, Callable[[Settings], str]], ...] = (
    ("servers", _servers),
    ("tokens", _own_file),
    ("clock", check_clock),
    ("proxy", check_proxy),
    ("disk", check_disk),
    ("memory", check_memory),
    ("limits", check_limits),
    ("Kafka", check_kafka),
    ("schema registry", _registry),
    ("object store", _object_store),
    ("catalog", check_catalog),
    ("sink", _sink),
    ("history", check_history),
    ("Dagster", _dagster),
    ("tables", _tables),
)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
