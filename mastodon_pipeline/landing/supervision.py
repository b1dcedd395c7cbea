"""When the sink's repair is to be run: at once, and then ever more patiently."""

from dataclasses import dataclass

import msgspec

from mastodon_pipeline.landing.health import Health, SinkState, Watermark

FIRST_PATIENCE_S = 30.0
LONGEST_PATIENCE_S = 600.0


class SupervisorMemory(msgspec.Struct, frozen=True):
    """What the supervisor remembers from tick to tick, as its cursor."""

    watermark: Watermark | None = None
    attempts: int = 0
    """Repairs since the sink was last seen healthy."""
    asked_at: float = 0.0
    """When the last repair was asked for; seconds of the epoch."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "SupervisorMemory":
        """The memory in a cursor; an empty one where there is none or it cannot be read."""
        try:
            return msgspec.json.decode(cursor or "{}", type=cls)
        except msgspec.MsgspecError:
            return cls()  # written by another version: nothing in it is worth failing for

    def to_cursor(self) -> str:
        """The memory as text."""
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether to repair, why or why not, and what to remember."""

    repair: bool
    restart_tasks: bool
    explanation: str
    memory: SupervisorMemory


def decide(
    health: Health, memory: SupervisorMemory, repair_in_progress: bool, now: float
) -> Decision:
    """One tick: what to do about the sink's health; `now` in seconds of the epoch.

    A second repair waits 30 s from the first, the next 60 s, and so on up to 10 min; a healthy
    sink clears that.
    """
    attempts = 0 if health.state is SinkState.HEALTHY else memory.attempts
    kept = SupervisorMemory(health.watermark, attempts, memory.asked_at)
    saw = f"saw: {health.state}, {health.detail}"
    if not health.state.needs_repair:
        return Decision(False, False, f"{saw}. Did: nothing", kept)
    if repair_in_progress:
        return Decision(False, False, f"{saw}. Did: nothing, a repair is in progress", kept)
    patience = min(FIRST_PATIENCE_S * 2 ** (attempts - 1), LONGEST_PATIENCE_S) if attempts else 0.0
    left = memory.asked_at + patience - now
    if left > 0:
        tried = f"repaired {attempts} times in vain, again in {left:.0f} s"
        return Decision(False, False, f"{saw}. Did: nothing, {tried}", kept)
    return Decision(
        True,
        health.state is SinkState.STANDING_STILL,
        f"{saw}. Did: asked for a repair (number {attempts + 1})",
        # The repaired sink gets its whole time to move before it is said to stand still.
        SupervisorMemory(None, attempts + 1, now),
    )
