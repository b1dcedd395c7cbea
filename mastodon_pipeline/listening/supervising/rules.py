"""What should be done about the listener runs: a decision from what is wanted and what is seen.

Pure of Dagster and of time, so that every rule is a line of a test:

- No run: start one. A run that failed: start another, at once where it had listened for a minute
  or longer, else after 2·2^n seconds (n failures in a row), 5 minutes at most.
- A run that is STARTED but has not beaten for 20 s has lost its process, or hangs: it is marked
  failed, and replaced. (If it wakes up again it sees that, and stops.)
- A run that a person terminated (CANCELED) means "stay down", until the job is launched by hand or
  the sensor is switched off and on. A run that was stopped by a signal counts as failed.
- The wanted servers changed: the run sees it within seconds and changes with them, without leaving
  those that stay. A group that has no servers any more ends well, and none is started for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

STALE_SECONDS = 20.0
"""A heartbeat older than this means that nobody is listening (listeners beat every 5 s)."""
STARTING_SECONDS = 180.0
"""A run that is still starting after this long never will."""
SHORT_RUN_SECONDS = 60.0
"""A failed run that lived shorter than this counts towards the backoff."""
LONGEST_BACKOFF_SECONDS = 300.0

RunState = Literal["waiting", "starting", "started", "stopping", "failed", "canceled", "ended"]


@dataclass(frozen=True, slots=True)
class SeenRun:
    """A listener run as Dagster's storage has it. Times in seconds since 1970, UTC."""

    run_id: str
    state: RunState
    created_at: float
    ended_at: float | None = None
    started_at: float | None = None
    beaten_at: float | None = None
    """Its last heartbeat."""
    follows: int | None = None
    """The version of its group's assignment that it said it follows."""

    @property
    def active(self) -> bool:
        """Not yet at its end."""
        return self.state in ("waiting", "starting", "started", "stopping")

    def silent(self, now: float) -> bool:
        """Whether it has given no sign of life for longer than a living run would."""
        return now - self._last_sign > STALE_SECONDS

    def lost(self, now: float) -> str | None:
        """Why its process must be gone or hang, or None."""
        if self.state in ("started", "stopping") and self.silent(now):
            return f"no heartbeat for {now - self._last_sign:.0f} s"
        if self.state == "starting" and now - self.created_at > STARTING_SECONDS:
            return f"still starting after {now - self.created_at:.0f} s"
        return None

    @property
    def _last_sign(self) -> float:
        return max(self.beaten_at or 0.0, self.started_at or 0.0, self.created_at)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why, as the sensor's tick shows it."""

    saw: str
    did: str
    start: bool = False
    failed: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as failed, each with the reason."""
    canceled: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as canceled: their Terminate was never answered."""

    @property
    def explanation(self) -> str:
        """What was seen and what is done about it, in one line."""
        return f"saw: {self.saw}. did: {self.did}"


def living(runs: Sequence[SeenRun], now: float) -> list[SeenRun]:
    """The runs that have not ended and are not lost, in the order given."""
    return [run for run in runs if run.active and run.lost(now) is None]


def decide(
    runs: Sequence[SeenRun], now: float, sensor_started_at: float | None, servers: int = 1
) -> Decision:
    """The decision for one group that is to follow so many servers.

    `runs`: its latest, newest first, ten or more.
    """
    lost = [(run, why) for run in runs if (why := run.lost(now))]
    failed = tuple((run.run_id, why) for run, why in lost if run.state != "stopping")
    canceled = tuple(
        (run.run_id, f"it was terminated, and its process is gone: {why}")
        for run, why in lost
        if run.state == "stopping"
    )
    saw, did, start = _step(runs, now, sensor_started_at, servers)
    if lost:
        did = f"{_marked(failed, 'failed')}{_marked(canceled, 'canceled')}{did}"
    return Decision(saw, did, start, failed, canceled)


def _step(
    runs: Sequence[SeenRun], now: float, sensor_started_at: float | None, servers: int
) -> tuple[str, str, bool]:
    """What is seen, what is done about it, and whether that is to start a run."""
    alive = living(runs, now)
    if alive:
        waits = "nothing" if servers else "nothing: without servers it ends by itself"
        return _about(alive[0], now), waits, False
    if not servers:
        return "no live run", "nothing: it has no servers to follow", False
    if not runs:
        return "no run yet", "started a run", True
    last = runs[0]
    name = f"run {last.run_id[:8]}"
    why = last.lost(now)
    if why is not None and last.state != "stopping":
        return f"{name}, {last.state}: {why}", "started another", True
    if last.state in ("canceled", "stopping"):
        if sensor_started_at is not None and sensor_started_at > (last.ended_at or now):
            return f"{name}, canceled before this sensor was switched on", "started another", True
        stay = (
            "nothing: a person terminated it, so it stays down. Launch the job mastodon_listener "
            "(re-execute that run), or switch this sensor off and on, to listen again"
        )
        return f"{name}, {last.state}", stay, False
    if last.state == "failed":
        left = (last.ended_at or last.created_at) + _backoff(runs) - now
        if left > 0:
            return f"{name}, failed", f"nothing: another is started in {left:.0f} s", False
        return f"{name}, failed", "started another", True
    return f"{name}, ended", "started the next", True


def _marked(runs: tuple[tuple[str, str], ...], how: str) -> str:
    return "".join(f"marked run {run_id[:8]} as {how} ({why}), " for run_id, why in runs)


def _about(run: SeenRun, now: float) -> str:
    beat = f", its heartbeat {now - run.beaten_at:.0f} s old" if run.beaten_at else ""
    return f"run {run.run_id[:8]}, {run.state}{beat}"


def _backoff(runs: Sequence[SeenRun]) -> float:
    failures = 0
    for run in runs:
        began = run.started_at or run.created_at
        if run.state != "failed" or (run.ended_at or began) - began >= SHORT_RUN_SECONDS:
            break
        failures += 1
    return min(LONGEST_BACKOFF_SECONDS, 2.0 * 2.0**failures) if failures else 0.0
