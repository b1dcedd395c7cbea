"""Whether the sink is configured as the settings want, runs, and makes progress.

A task that ran out of memory may stay RUNNING and write nothing. So progress is checked too: the
sink is stalled if its committed offsets do not move while records wait.

Nor does progress mean that records land: with the schema registry away, each becomes a dead letter
and is committed. So an open dead letter (see `dead_letters`) is a state of the sink, too.
"""

from dataclasses import dataclass
from enum import StrEnum

from mastodon_pipeline.errors import ConnectRefused, ConnectUnavailable, PipelineError
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import drifted_keys, root_cause
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.dead_letters import format_seconds, read_sink_letters
from mastodon_pipeline.landing.sink_progress import (
    PartitionProgress,
    dead_lettered,
    landable,
    sink_progress,
)
from mastodon_pipeline.settings import Settings

STALLED_AFTER_SECONDS = 120.0
"""Longer than any pause of a working sink: it commits every 10 s with 30 s to answer, and recovers
within 25 s after a kill."""
REST_TIMEOUT_SECONDS = 2.0
KAFKA_TIMEOUT_SECONDS = 2.0
EXAMINED_RECORDS = 1000
"""Records of each partition that are examined for whether they can land at all."""


class SinkState(StrEnum):
    """The state of a sink, worst first."""

    UNREACHABLE = "unreachable"
    MISSING = "missing"
    DRIFTED = "drifted"
    FAILED = "failed"
    PAUSED = "paused"
    STARTING = "starting"
    STALLED = "stalled"
    DEAD_LETTERING = "dead-lettering"
    HEALTHY = "healthy"

    @property
    def needs_repair(self) -> bool:
        """Whether the job kafka_connect_config fixes it, all or in part; a pause is intended."""
        return self in (
            *(self.MISSING, self.DRIFTED, self.FAILED, self.STALLED),
            self.DEAD_LETTERING,
        )


@dataclass(frozen=True, slots=True)
class Watermark:
    """The sum of the committed offsets, and since when it has not moved (seconds, epoch)."""

    committed: int
    since: float


@dataclass(frozen=True, slots=True)
class Health:
    """The sink's state, one line about it, and the watermark to pass to the next check."""

    state: SinkState
    detail: str
    watermark: Watermark | None
    dead_letters: int = 0
    """Records that the sink put aside and nobody has settled; at least so many."""


def connector_health(settings: Settings, earlier: Watermark | None, now: float) -> Health:
    """Check the sink; takes less than 10 s, whatever hangs.

    `earlier` is the watermark of the previous check; `now` is in seconds since the epoch.

    Raises SettingsError if the wanted config cannot be built.
    """
    wanted = connector_config(settings)
    name = settings.connector_name
    with ConnectRest.of(
        settings, timeout_seconds=REST_TIMEOUT_SECONDS, deadline_seconds=0
    ) as connect:
        try:
            running = connect.config(name)
            status = connect.status(name) if running is not None else None
        except ConnectUnavailable as error:
            return Health(SinkState.UNREACHABLE, str(error), earlier)
        except ConnectRefused as error:  # still starting, or rebalancing
            return Health(SinkState.STARTING, str(error), earlier)
    if running is None:
        return Health(SinkState.MISSING, f"Kafka Connect has no connector {name}", earlier)
    if keys := drifted_keys(wanted, running):
        return Health(SinkState.DRIFTED, f"{name} runs with a different {', '.join(keys)}", earlier)
    if status is None:
        return Health(SinkState.STARTING, f"{name} has no status yet", earlier)
    if status.failures:
        part, trace = next(iter(status.failures.items()))
        return Health(SinkState.FAILED, f"{name}: {part}: {root_cause(trace)}", earlier)
    if status.connector.state in ("PAUSED", "STOPPED"):
        return Health(SinkState.PAUSED, f"{name} was paused: {status.summary}", None)
    if not status.running:
        return Health(SinkState.STARTING, f"{name}: {status.summary}", earlier)
    return _check_progress(settings, earlier, now, status.summary)


def _check_progress(
    settings: Settings, earlier: Watermark | None, now: float, running: str
) -> Health:
    try:
        partitions = sink_progress(settings, KAFKA_TIMEOUT_SECONDS)
        committed = sum(partition.committed for partition in partitions)
        lag = sum(partition.lag for partition in partitions)
        if earlier is None or earlier.committed != committed or lag == 0:
            watermark = Watermark(committed, now)
        else:
            watermark = earlier
        idle_seconds = now - watermark.since
        detail = f"{settings.connector_name}: {running}; {lag} records behind"
        if idle_seconds < STALLED_AFTER_SECONDS or not _records_wait(settings, partitions):
            return _check_dead_letters(settings, detail, watermark)
    except PipelineError as error:  # Kafka does not answer: progress is unknown
        return Health(SinkState.UNREACHABLE, str(error), earlier)
    return Health(
        SinkState.STALLED, f"{detail}, and none committed for {idle_seconds:.0f} s", watermark
    )


def _check_dead_letters(settings: Settings, detail: str, watermark: Watermark) -> Health:
    """Return the health of a sink that makes progress: does it put records aside meanwhile?"""
    letters = read_sink_letters(settings, KAFKA_TIMEOUT_SECONDS, all_or_nothing=False)
    if not letters.unsettled:
        return Health(SinkState.HEALTHY, detail, watermark)
    at_least = "" if letters.all_read else "at least "
    since = f" since {format_seconds(letters.since)} UTC" if letters.since else ""
    return Health(
        SinkState.DEAD_LETTERING,
        f"{detail}; {at_least}{len(letters.unsettled)} records went to the dead letters{since}"
        f" instead of the lake ({letters.unsettled[0].reason[:200] or 'no reason is given'}):"
        " mastodon-pipeline replay --dead-letters",
        watermark,
        len(letters.unsettled),
    )


def _records_wait(settings: Settings, partitions: tuple[PartitionProgress, ...]) -> bool:
    """Return whether any record above the committed offsets can land.

    The sink commits the offset of a record that it received. A bad record or a tombstone at the
    end of its partition never reaches it, and stays uncommitted until the next record comes.
    """
    uncommitted = {
        (partition.partition, offset)
        for partition in partitions
        for offset in range(max(partition.committed, partition.low), partition.end)[
            :EXAMINED_RECORDS
        ]
    }
    if not uncommitted:
        return False
    bad = dead_lettered(settings, last=EXAMINED_RECORDS, timeout_seconds=KAFKA_TIMEOUT_SECONDS)
    return bool(landable(settings, uncommitted - bad, KAFKA_TIMEOUT_SECONDS))
