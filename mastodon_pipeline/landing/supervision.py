"""When to run the sink's repair: at once, then after growing pauses."""

from dataclasses import dataclass

import msgspec

from mastodon_pipeline.landing.health import Health, SinkState, Watermark

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 600.0


class SupervisorMemory(msgspec.Struct, frozen=True):
    """What the supervisor remembers from tick to tick, as its cursor."""

    watermark: Watermark | None = None
    attempts: int = 0
    """Repairs since the sink was last seen healthy."""
    requested_at: float = 0.0
    """When the last repair was requested, in seconds since the epoch."""

    @classmethod
    def from_cursor(cls, cursor: str | None) -> "SupervisorMemory":
        """Return the memory in a cursor; an empty one if there is none or it cannot be read."""
        try:
            return msgspec.json.decode(cursor or "{}", type=cls)
        except msgspec.MsgspecError:
            return cls()  # written by another version; nothing in it is worth failing for

    def to_cursor(self) -> str:
        """Return the memory as text."""
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
    """Decide what one tick does about the sink's health; `now` in seconds since the epoch.

    A second repair waits 30 s after the first, the next 60 s, and so on up to 10 min; a healthy
    sink resets the pause.
    """
    running = health.state in (SinkState.HEALTHY, SinkState.DEAD_LETTERING)
    attempts = 0 if running else memory.attempts
    unchanged = SupervisorMemory(health.watermark, attempts, memory.requested_at)
    saw = f"saw: {health.state}, {health.detail}"
    if not health.state.needs_repair:
        return Decision(False, False, f"{saw}. Did: nothing", unchanged)
    if repair_in_progress:
        return Decision(False, False, f"{saw}. Did: nothing, a repair is in progress", unchanged)
    pause = min(FIRST_PAUSE_SECONDS * 2 ** (attempts - 1), LONGEST_PAUSE_SECONDS) if attempts else 0
    remaining = memory.requested_at + pause - now
    if remaining > 0:
        reason = f"repaired {attempts} times without success, again in {remaining:.0f} s"
        return Decision(False, False, f"{saw}. Did: nothing, {reason}", unchanged)
    return Decision(
        True,
        health.state is SinkState.STALLED,
        f"{saw}. Did: requested a repair (number {attempts + 1})",
        # Without a watermark: the repaired sink gets the full time to move before it is stalled.
        SupervisorMemory(None, attempts + 1, now),
    )
