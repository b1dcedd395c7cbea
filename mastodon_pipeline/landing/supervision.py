"""When to run the sink's repair: at once, then after growing pauses.

Putting dead letters back is a repair, too. What is no record stays there, for a person to look at,
so that is tried ever less often, until more letters come.
"""

from dataclasses import dataclass

import msgspec

from mastodon_pipeline.landing.health import Health, SinkState, Watermark

FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 120.0
"""What a repair had failed for may be over at any time, and a run takes 6 s of CPU."""
LONGEST_PUT_BACK_PAUSE_SECONDS = 6 * 3600.0
"""While the same dead letters are left."""


class SupervisorMemory(msgspec.Struct, frozen=True):
    """What the supervisor remembers from tick to tick, as its cursor."""

    watermark: Watermark | None = None
    attempts: int = 0
    """Repairs since the sink was last seen healthy."""
    requested_at: float = 0.0
    """When the last repair was requested, in seconds since the epoch."""
    dead_letters: int = 0
    """How many were open when they were last put back."""
    control_topic_id: str | None = None
    """The id of the control topic that the table is known to follow."""

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
    put_back: bool
    explanation: str
    memory: SupervisorMemory


def decide(
    health: Health,
    memory: SupervisorMemory,
    repair_in_progress: bool,
    now: float,
    control_topic_id: str | None = None,
) -> Decision:
    """Decide what one tick does about the sink's health; `now` in seconds since the epoch.

    `control_topic_id` is that of the control topic now, None if it is unknown. If it is another
    than before, the topic was made again, and the Iceberg table has to follow it (see
    `table_repairs`). A second repair waits 30 s after the first, the next 60 s, and so on up to
    2 min; a healthy sink resets the pause.
    """
    put_back = health.state is SinkState.DEAD_LETTERING
    attempts = 0 if health.state is SinkState.HEALTHY else memory.attempts
    known = memory.control_topic_id or control_topic_id
    made_again = control_topic_id is not None and control_topic_id != known
    unchanged = SupervisorMemory(
        health.watermark, attempts, memory.requested_at, memory.dead_letters, known
    )
    saw = f"saw: {health.state}, {health.detail}"
    if made_again:
        saw += "; the sink's control topic was made again"

    def nothing(reason: str = "") -> Decision:
        return Decision(False, False, False, f"{saw}. Did: nothing{reason}", unchanged)

    if not (health.state.needs_repair or made_again):
        return nothing()
    if repair_in_progress:
        return nothing(", a repair is in progress")
    same_letters = put_back and health.dead_letters <= memory.dead_letters
    longest = LONGEST_PUT_BACK_PAUSE_SECONDS if same_letters else LONGEST_PAUSE_SECONDS
    pause = min(FIRST_PAUSE_SECONDS * 2 ** min(attempts - 1, 20), longest) if attempts else 0
    remaining = memory.requested_at + pause - now
    if remaining > 0:
        return nothing(f", repaired {attempts} times without success, again in {remaining:.0f} s")
    return Decision(
        True,
        health.state is SinkState.STALLED,
        put_back,
        f"{saw}. Did: requested a repair (number {attempts + 1})",
        # Without a watermark: the repaired sink gets the full time to move before it is stalled.
        SupervisorMemory(None, attempts + 1, now, health.dead_letters, control_topic_id or known),
    )
