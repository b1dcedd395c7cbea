"""What `connector_supervisor` saw last of the sink, for who must not ask Kafka Connect itself.

One row in Dagster's key-value store, replaced at each tick.
"""

import contextlib

import dagster as dg
import msgspec

from mastodon_pipeline.landing.health import Health, SinkState
from mastodon_pipeline.listening.supervising.runs import load_values, save_value

_KEY = "connector_supervisor/sink"


class SinkReport(msgspec.Struct, frozen=True):
    """The sink's state at one time."""

    state: str
    """A `SinkState`."""
    detail: str
    written_at: float
    """Seconds since 1970, UTC."""

    @property
    def healthy(self) -> bool:
        """Whether records land."""
        return self.state == SinkState.HEALTHY


def save_sink_report(instance: dg.DagsterInstance, health: Health, now: float) -> None:
    """Save the sink's health in place of what was saved before."""
    report = SinkReport(health.state.value, health.detail, now)
    save_value(instance, _KEY, msgspec.json.encode(report).decode())


def load_sink_report(instance: dg.DagsterInstance) -> SinkReport | None:
    """Return the last report; None if there is none, or another version wrote it."""
    [value] = load_values(instance, _KEY)
    with contextlib.suppress(msgspec.MsgspecError):
        return msgspec.json.decode(value, type=SinkReport) if value else None
    return None
