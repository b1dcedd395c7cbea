"""Whether the sink does what the settings want: configured so, running, and getting on.

A task that ran out of memory may stay RUNNING and write nothing, so progress is looked at too:
committed offsets that do not move while records wait.
"""

from dataclasses import dataclass
from enum import StrEnum

from mastodon_pipeline.errors import (
    ConnectRefused,
    ConnectUnavailable,
    PipelineError,
)
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import drifted_keys, root_cause
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.sink_progress import (
    PartitionProgress,
    dead_lettered,
    landable,
    sink_progress,
)
from mastodon_pipeline.settings import Settings

STANDSTILL_S = 120.0
"""Longer than any pause of a sink at work: commits every 10 s with 30 s to answer, up to 25 s to
recover after a kill."""
REST_TIMEOUT_S = 2.0
KAFKA_TIMEOUT_S = 2.0
CLOSELY_LOOKED_AT = 1000
"""Records a partition of which is asked whether they wait at all."""


class SinkState(StrEnum):
    """What may be the matter with a sink, worst first."""

    UNREACHABLE = "unreachable"
    MISSING = "missing"
    DRIFTED = "drifted"
    FAILED = "failed"
    PAUSED = "paused"
    STARTING = "starting"
    STANDING_STILL = "standing still"
    HEALTHY = "healthy"

    @property
    def needs_repair(self) -> bool:
        """Applying the config mends it. A pause is somebody's wish; the rest mends itself."""
        return self in (self.MISSING, self.DRIFTED, self.FAILED, self.STANDING_STILL)


@dataclass(frozen=True, slots=True)
class Watermark:
    """The sum of the committed offsets, and since when it stands there (seconds, epoch)."""

    committed: int
    since: float


@dataclass(frozen=True, slots=True)
class Health:
    """The sink's state, a line on it for people, and the watermark to hand in next time."""

    state: SinkState
    detail: str
    watermark: Watermark | None


def connector_health(settings: Settings, earlier: Watermark | None, now: float) -> Health:
    """Looks at the sink; takes less than 10 s whatever hangs.

    `earlier` is the watermark that the last look returned, `now` in seconds of the epoch.

    Raises SettingsError where the wanted config cannot be made.
    """
    wanted = connector_config(settings)
    name = settings.connector_name
    with ConnectRest(settings.kafka_connect_url, timeout_s=REST_TIMEOUT_S, deadline_s=0) as connect:
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
        return Health(SinkState.DRIFTED, f"{name} runs with other {', '.join(keys)}", earlier)
    if status is None:
        return Health(SinkState.STARTING, f"{name} has no status yet", earlier)
    if status.failures:
        part, trace = next(iter(status.failures.items()))
        return Health(SinkState.FAILED, f"{name}: {part}: {root_cause(trace)}", earlier)
    if status.connector.state in ("PAUSED", "STOPPED"):
        return Health(SinkState.PAUSED, f"{name} was paused: {status.summary}", None)
    if not status.running:
        return Health(SinkState.STARTING, f"{name}: {status.summary}", earlier)
    return _progress(settings, earlier, now, status.summary)


def _progress(settings: Settings, earlier: Watermark | None, now: float, running: str) -> Health:
    try:
        partitions = sink_progress(settings, KAFKA_TIMEOUT_S)
        committed = sum(partition.committed for partition in partitions)
        lag = sum(partition.lag for partition in partitions)
        if earlier is None or earlier.committed != committed or lag == 0:
            watermark = Watermark(committed, now)
        else:
            watermark = earlier
        stands_s = now - watermark.since
        detail = f"{settings.connector_name}: {running}; {lag} records behind"
        if stands_s < STANDSTILL_S or not _records_wait(settings, partitions):
            return Health(SinkState.HEALTHY, detail, watermark)
    except PipelineError as error:  # Kafka is away: then nothing can be said about progress
        return Health(SinkState.UNREACHABLE, str(error), earlier)
    return Health(
        SinkState.STANDING_STILL, f"{detail}, and none committed for {stands_s:.0f} s", watermark
    )


def _records_wait(settings: Settings, partitions: tuple[PartitionProgress, ...]) -> bool:
    """Whether anything above the committed offsets can land.

    The sink commits behind a record it was given. A bad record or a tombstone that is the last
    of its partition never reaches it, and stays uncommitted until the next record comes.
    """
    above = {
        (partition.partition, offset)
        for partition in partitions
        for offset in range(max(partition.committed, partition.low), partition.end)[
            :CLOSELY_LOOKED_AT
        ]
    }
    if not above:
        return False
    bad = dead_lettered(settings, last=CLOSELY_LOOKED_AT, timeout_s=KAFKA_TIMEOUT_S)
    return bool(landable(settings, above - bad, KAFKA_TIMEOUT_S))
