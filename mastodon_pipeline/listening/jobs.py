"""The jobs `mastodon_listener`, a run of which listens for as long as it is wanted, and
`mastodon_backfill`, which reads a server's past.

They run in a single process, because a multiprocess run that is killed leaves its step behind,
still producing. Terminate interrupts the main thread; what was read is flushed before the run ends.
"""

import logging
import sys
import time
from datetime import datetime

import dagster as dg
from pydantic import Field

from mastodon_pipeline.errors import PipelineError, SettingsError
from mastodon_pipeline.listening.supervising.lease import Lease, lease_seconds
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    JOB_NAME,
    send_heartbeat,
    successor,
)
from mastodon_pipeline.listening.supervising.supervised_run import (
    SupervisedRun,
    await_predecessor,
    first_assignment,
)
from mastodon_pipeline.listening.topic.opening import open_backfill, open_listener
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import load_settings

_PROGRESS_SECONDS = 30.0


@dg.op(
    description=(
        "Follows the group's servers into Kafka until it is stopped. If it fails, the message "
        "names what to correct; the sensor listener_supervisor starts the next run."
    ),
)
def listen_to_servers(context: dg.OpExecutionContext) -> None:
    """Build a listener from the settings, run it, and keep it supervised.

    It follows the servers that `listener_supervisor` assigned to the group in the run's tag
    `mastodon/listener_group`. Their tokens come from this process' environment, or from `.env`.
    """
    _log_to_compute_log()
    instance, run_id = context.instance, context.run_id
    group = context.run.tags.get(GROUP_TAG, DEFAULT_GROUP)
    if (older := await_predecessor(instance, group, run_id)) is not None:
        raise dg.Failure(
            f"run {older[:8]} of {group} is still listening and does not end: terminate it",
            allow_retries=False,
        )
    if (newer := successor(instance, group, run_id)) is not None:
        context.log.warning(f"not listening: run {newer[:8]} has started meanwhile")
        return
    # Before Kafka is opened, which takes time that the supervisor would count as silence.
    send_heartbeat(instance, group, run_id)
    try:
        settings = load_settings()
        assignment = first_assignment(instance, group, settings)
        if not assignment.servers:
            raise SettingsError(_no_servers(group, bool(settings.servers())))
        listener = open_listener(assignment.servers, settings)
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    names = ", ".join(server.name for server in assignment.servers[:20])
    context.log.info(f"{group} listens to {len(assignment.servers)} servers: {names}")
    if request := settings.contact_request(assignment.servers):
        context.log.warning(request)
    lease = Lease(listener.release_servers, lease_seconds())
    supervised = SupervisedRun(instance, group, run_id, assignment, listener, lease)
    try:
        with lease:
            listener.run(supervised.run_due_tasks)
    except SettingsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    finally:
        supervised.print_statistics()
    if supervised.stop_reason is not None:
        context.log.warning(f"stopped: {supervised.stop_reason}")
    if supervised.marked_as_ended:
        # Ending well would turn the run, which was marked as failed, into a success.
        raise dg.Failure("this run was marked as ended while it still listened; it has stopped")


@dg.job(
    name=JOB_NAME,
    executor_def=dg.in_process_executor,
    tags={GROUP_TAG: DEFAULT_GROUP},
    description=(
        "Listens to a group of Mastodon servers and writes their toots to Kafka, for as long as "
        "it runs. The sensor listener_supervisor starts one run per group, and the next one if a "
        "run fails: a failed run needs no action unless it fails again and again, then read its "
        "last error. Terminate means stay down; to listen again, launch this job with the tag "
        "mastodon/listener_group of the group."
    ),
)
def mastodon_listener() -> None:
    """Run one op, which listens."""
    listen_to_servers()


class BackfillConfig(dg.Config):
    """Which server's past is read."""

    server: str = Field(description="Its address, such as mastodon.social")
    since: str = Field(description="The start of the period, UTC: 2026-01-01, or 2026-01-01T12:00")
    until: str = Field(
        default="",
        description="Its end; by default now, or where an earlier backfill of the server began",
    )


@dg.op(
    description=(
        "Reads what a server published in a period, from its public timeline backward, with half "
        "of the requests that the server allows. A run that ends early is continued by the next."
    ),
)
def read_past(context: dg.OpExecutionContext, config: BackfillConfig) -> None:
    """Read the past of a server into Kafka; see `mastodon-pipeline backfill --help`."""
    try:
        settings = load_settings()
        named = parse_server(config.server)
        server = next((s for s in settings.servers() if s.base_url == named.base_url), named)
        since, until = _moment("since", config.since), _moment("until", config.until)
        if since is None:
            raise SettingsError("since is missing")
        reading = open_backfill(server, since, until, settings)
        progress, logged_at = reading.progress, time.monotonic()

        def log_progress() -> None:
            nonlocal logged_at
            if time.monotonic() - logged_at >= _PROGRESS_SECONDS:
                logged_at = time.monotonic()
                context.log.info(progress.line())

        reading.run(log_progress)
    except PipelineError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    context.log.info(progress.line())


@dg.job(
    name="mastodon_backfill",
    executor_def=dg.in_process_executor,
    description=(
        "Reads a server's toots of a period before it was followed into Kafka. Launch it with the "
        "server and the period as config; launched again, it continues where it was stopped."
    ),
)
def mastodon_backfill() -> None:
    """Run one op, which reads the past of one server."""
    read_past()


def _moment(name: str, text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise SettingsError(f"{name} is {text!r}: write it like 2026-01-01") from None


def _no_servers(group: str, configured: bool) -> str:
    if configured:
        return f"{group} has no servers: there are fewer groups, or fewer servers than groups"
    return "no servers to listen to: set MASTODON_SERVERS"


def _log_to_compute_log() -> None:
    logger = logging.getLogger("mastodon_pipeline.listening")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
