"""The job `mastodon_listener`: a run listens for as long as it is wanted.

It runs in one process (a multiprocess run that is killed leaves its step behind, still
producing). Terminate interrupts the main thread; what was read is flushed before the run ends.
"""

import logging
import sys
import time
from collections.abc import Callable

import dagster as dg
from pydantic import Field

from mastodon_pipeline.listening.kafka_listener import kafka_listener
from mastodon_pipeline.listening.listener import Listener
from mastodon_pipeline.listening.listener_runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    JOB_NAME,
    beat,
    is_current,
    reason_to_stop,
)
from mastodon_pipeline.listening.server_statistics import ServerStatistics
from mastodon_pipeline.listening.supervision import servers_hash
from mastodon_pipeline.listening.topic_observation import TOPIC_ASSET
from mastodon_pipeline.settings import Server, SettingsError, load_settings, parse_server

BEAT_SECONDS = 5.0
FENCE_SECONDS = 10.0
OBSERVE_SECONDS = 30.0
"""The event log gets one observation of `mastodon_topic` a run in so many seconds, at most."""
_log = logging.getLogger(__name__)


class FollowedServer(dg.Config):
    """One server; its token stays in the environment."""

    base_url: str
    feed: str = "local"
    token_env: str = Field(
        "", description="The environment variable with its token; by default MASTODON_TOKEN_<HOST>"
    )


class ListenerConfig(dg.Config):
    """What a listener run follows."""

    group: str = Field(DEFAULT_GROUP, description="The listener group, as the run's tag names it")
    servers: list[FollowedServer] = Field(
        [], description="Empty: the configured servers (MASTODON_SERVERS, MASTODON_SERVERS_FILE)"
    )

    def followed(self) -> tuple[Server, ...]:
        """The servers. Raises SettingsError where one cannot be understood, or none is there."""
        given = tuple(parse_server(s.base_url, s.feed, s.token_env) for s in self.servers)
        servers = given or load_settings().servers()
        if not servers:
            raise SettingsError("no servers to listen to: set MASTODON_SERVERS")
        return servers


@dg.op(description="Follows the group's servers into Kafka until it is stopped.")
def listen_to_servers(context: dg.OpExecutionContext, config: ListenerConfig) -> None:
    """Builds a listener from the settings and keeps it beating, fenced and observed."""
    _log_to_compute_log()
    try:
        servers = config.followed()
        listener = kafka_listener(servers, load_settings())
    except SettingsError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    context.log.info(f"listening to {', '.join(server.name for server in servers)}")
    supervised = _Supervised(context, config.group, servers_hash(servers), listener)
    try:
        listener.run(supervised.beat)
    finally:
        supervised.print_statistics()
    if supervised.disowned:
        # Ending well would turn the run, which was marked failed, into a success.
        raise dg.Failure("this run was marked as ended while it still listened; it has stopped")


@dg.job(
    name=JOB_NAME,
    executor_def=dg.in_process_executor,
    tags={GROUP_TAG: DEFAULT_GROUP},
    description=(
        "Listens to Mastodon servers and writes their toots to Kafka, for as long as it runs. "
        "The sensor listener_supervisor starts it and restarts it; Terminate means stay down."
    ),
)
def mastodon_listener() -> None:
    """One op: listening."""
    listen_to_servers()


class _Supervised:
    """What a listener run owes to Dagster at every beat."""

    def __init__(
        self, context: dg.OpExecutionContext, group: str, servers: str, listener: Listener
    ) -> None:
        self.disowned = False
        self._stopping = False
        self._context = context
        self._group = group
        self._servers = servers
        self._listener = listener
        self._do = [
            # The fence first: a run that was replaced while it hung must not beat once more.
            _Every(FENCE_SECONDS, self._fence),
            _Every(BEAT_SECONDS, self._heartbeat),
            _Every(OBSERVE_SECONDS, self._observe, at_once=False),
        ]

    def beat(self) -> None:
        """Called by the listener's main thread twice a second."""
        for duty in self._do:
            if self._stopping:
                return
            try:
                duty.when_due()
            except Exception as error:
                # Dagster's storage may be busy or away for a moment; listening goes on. If it
                # stays away the heartbeat grows stale, and that is the supervisor's business.
                _log.warning("Dagster's storage: %s: %s", type(error).__name__, error)

    def print_statistics(self) -> None:
        """A line a server, to the run's compute log."""
        for server in self._listener.statistics:
            print(server.line(), flush=True)

    def _heartbeat(self) -> None:
        beat(self._context.instance, self._group, self._context.run_id)

    def _fence(self) -> None:
        instance, run_id = self._context.instance, self._context.run_id
        self.disowned = not is_current(instance, run_id)
        reason = "this run was marked as ended"
        if not self.disowned:
            why = reason_to_stop(instance, self._group, run_id, self._servers)
            if why is None:
                return
            reason = why
        self._stopping = True
        self._listener.stop()
        self._context.log.warning(f"stopping: {reason}")

    def _observe(self) -> None:
        self.print_statistics()
        statistics = self._listener.statistics
        self._context.log_event(
            dg.AssetObservation(
                TOPIC_ASSET,
                description=f"listener group {self._group}",
                metadata={
                    "toots_since_start": sum(server.toots for server in statistics),
                    "servers": dg.MetadataValue.table(
                        [_row(server) for server in statistics], schema=_COLUMNS
                    ),
                },
            )
        )


class _Every:
    def __init__(self, seconds: float, do: Callable[[], None], at_once: bool = True) -> None:
        self._seconds = seconds
        self._do = do
        self._due = time.monotonic() + (0.0 if at_once else seconds)

    def when_due(self) -> None:
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + self._seconds
            self._do()


_COLUMNS = dg.TableSchema(
    columns=[
        dg.TableColumn("server", "string"),
        dg.TableColumn("state", "string"),
        dg.TableColumn("reason", "string"),
        dg.TableColumn("toots", "int"),
        dg.TableColumn("seconds_since_last_toot", "int"),
        dg.TableColumn("dead_letters", "int"),
        dg.TableColumn("reconnects", "int"),
        dg.TableColumn("gaps_filled", "int"),
        dg.TableColumn("gaps_lost", "int"),
    ]
)


def _row(server: ServerStatistics) -> dg.TableRecord:
    return dg.TableRecord(
        {
            "server": f"{server.server} {server.feed}",
            "state": server.state,
            "reason": server.reason or server.gap_reason,
            "toots": server.toots,
            "seconds_since_last_toot": int(time.monotonic() - server.last_toot_at),
            "dead_letters": server.dead_letters,
            "reconnects": server.reconnects,
            "gaps_filled": server.gaps_filled,
            "gaps_lost": server.gaps_lost,
        }
    )


def _log_to_compute_log() -> None:
    logger = logging.getLogger("mastodon_pipeline.listening")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
