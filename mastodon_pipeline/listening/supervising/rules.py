"""Decide what to do about a group's listener runs, from what is wanted and what is observed.

Independent of Dagster and of the clock, so that a test needs one line for each rule:

- No run: start one. After a failed run: start another, at once if it had listened for a minute or
  longer, else after 2·2^n seconds (n failures in a row), 5 minutes at most.
- A run that is STARTED but whose heartbeat has not changed for 20 s has lost its process, or
  hangs: it is marked as failed and replaced. (If it wakes up again it notices that, and stops.) So
  is one that has not started after a minute; the next one gets two, and so on. Silence is what the
  observer has seen by its own clock: the run's machine may have another time (`observing`).
- A run that a person terminated (CANCELED) means "stay down", until the job is launched by hand or
  the sensor is switched off and on. A run that was stopped by a signal counts as failed.
- If the configured servers change, the run applies the change within seconds, without
  disconnecting from those that stay. A run whose group has no servers left ends successfully, and
  no other is started for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

STALE_HEARTBEAT_SECONDS = 20.0
"""If no new heartbeat was seen for longer, nobody is listening (heartbeats come every 5 s)."""
FIRST_HEARTBEAT_SECONDS = 40.0
"""The same for a run that has sent none yet: it may be waiting for its predecessor to end."""
START_TIMEOUT_SECONDS = 60.0
"""A run that is still starting after this long lost its process: it takes some 10 s. Should it come
all the same, it sees that it was replaced, and stops. After each run in a row that was given up so,
the next gets twice as long: on a machine that is very busy, none would ever come up."""
MAX_START_TIMEOUT_SECONDS = 480.0
SHORT_RUN_SECONDS = 60.0
"""A failed run that was shorter than this counts towards the backoff."""
MAX_BACKOFF_SECONDS = 300.0

RunState = Literal["waiting", "starting", "started", "stopping", "failed", "canceled", "ended"]


@dataclass(frozen=True, slots=True)
class ListenerRun:
    """A listener run as Dagster's storage describes it.

    Times in seconds since 1970, UTC, by the clocks of the machines that wrote them.
    """

    run_id: str
    state: RunState
    created_at: float
    ended_at: float | None = None
    started_at: float | None = None
    silent_seconds: float = 0.0
    """For how long the observer has seen neither its state nor its heartbeat change."""
    has_heartbeat: bool = False
    """Whether it has sent one, and no other run of the group since."""
    assignment_version: int | None = None
    """The version of its group's assignment that it follows, according to that heartbeat."""

    @property
    def active(self) -> bool:
        """Whether it has not ended."""
        return self.state in ("waiting", "starting", "started", "stopping")

    def lost_reason(
        self, now: float, start_timeout_seconds: float = START_TIMEOUT_SECONDS
    ) -> str | None:
        """Return why its process must be gone or hang, or None if it seems to be alive."""
        silent = self.silent_seconds
        timeout = STALE_HEARTBEAT_SECONDS if self.has_heartbeat else FIRST_HEARTBEAT_SECONDS
        if self.state in ("started", "stopping") and silent > timeout:
            return f"no heartbeat for {silent:.0f} s"
        # By the clock of whoever dated its creation, so it must have been seen starting as well.
        # Not for the whole timeout: `dagster dev` begins a new observer each minute.
        seconds = now - self.created_at
        if (
            self.state == "starting"
            and seconds > start_timeout_seconds
            and silent > STALE_HEARTBEAT_SECONDS
        ):
            return f"still starting after {seconds:.0f} s"
        return None

    def ended_by(self, now: float) -> float:
        """Return when it ended, in the observer's time: not after it was first seen so."""
        return min(self.ended_at or self.created_at, now - self.silent_seconds)


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why, as the sensor's tick shows it."""

    saw: str
    did: str
    start: bool = False
    failed: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as failed, each with the reason."""
    canceled: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as canceled: they were terminated, and their process is gone."""

    @property
    def explanation(self) -> str:
        """What was observed and what is done about it, in one line."""
        return f"saw: {self.saw}. did: {self.did}"


def live_runs(runs: Sequence[ListenerRun], now: float) -> list[ListenerRun]:
    """Return the runs that have neither ended nor lost their process, in the order given."""
    timeout = start_timeout_seconds(runs)
    return [run for run in runs if run.active and run.lost_reason(now, timeout) is None]


def start_timeout_seconds(runs: Sequence[ListenerRun]) -> float:
    """Return how long the newest of the runs may be starting."""
    given_up = 0
    for run in runs:
        if run.state == "failed" and run.started_at is None:
            given_up += 1
        elif not run.active:
            break
    return min(MAX_START_TIMEOUT_SECONDS, START_TIMEOUT_SECONDS * 2.0**given_up)


def decide(
    runs: Sequence[ListenerRun], now: float, sensor_started_at: float | None, servers: int = 1
) -> Decision:
    """Return what to do about the runs of one group, which is to follow `servers` servers.

    `runs`: the group's latest ten or more, newest first. `sensor_started_at`: when the sensor was
    switched on, if a person did that.
    """
    timeout = start_timeout_seconds(runs)
    lost = [(run, reason) for run in runs if (reason := run.lost_reason(now, timeout))]
    failed = tuple((run.run_id, reason) for run, reason in lost if run.state != "stopping")
    canceled = tuple(
        (run.run_id, f"it was terminated, and its process is gone: {reason}")
        for run, reason in lost
        if run.state == "stopping"
    )
    saw, did, start = _next_step(runs, now, sensor_started_at, servers)
    if lost:
        did = f"{_marked(failed, 'failed')}{_marked(canceled, 'canceled')}{did}"
    return Decision(saw, did, start, failed, canceled)


def _next_step(
    runs: Sequence[ListenerRun], now: float, sensor_started_at: float | None, servers: int
) -> tuple[str, str, bool]:
    """Return what is observed, what is done about it, and whether that is to start a run."""
    live = live_runs(runs, now)
    if live:
        did = "nothing" if servers else "nothing: without servers it ends by itself"
        return _described(live[0]), did, False
    if not servers:
        return "no live run", "nothing: it has no servers to follow", False
    if not runs:
        return "no run yet", "started a run", True
    last = runs[0]
    name = f"run {last.run_id[:8]}"
    lost_reason = last.lost_reason(now, start_timeout_seconds(runs))
    if lost_reason is not None and last.state != "stopping":
        return f"{name}, {last.state}: {lost_reason}", "started another", True
    if last.state in ("canceled", "stopping"):
        if sensor_started_at is not None and sensor_started_at > last.ended_by(now):
            return f"{name}, canceled before this sensor was switched on", "started another", True
        stay = (
            "nothing: a person terminated it, so it stays down. To listen again, launch the job "
            "mastodon_listener (re-execute that run), or switch this sensor off and on"
        )
        return f"{name}, {last.state}", stay, False
    if last.state == "failed":
        wait = last.ended_by(now) + _backoff_seconds(runs) - now
        if wait > 0:
            return f"{name}, failed", f"nothing: another is started in {wait:.0f} s", False
        return f"{name}, failed", "started another", True
    return f"{name}, ended", "started the next", True


def _marked(runs: tuple[tuple[str, str], ...], state: str) -> str:
    return "".join(f"marked run {run_id[:8]} as {state} ({reason}), " for run_id, reason in runs)


def _described(run: ListenerRun) -> str:
    heartbeat = f", its heartbeat {run.silent_seconds:.0f} s old" if run.has_heartbeat else ""
    return f"run {run.run_id[:8]}, {run.state}{heartbeat}"


def _backoff_seconds(runs: Sequence[ListenerRun]) -> float:
    failures = 0
    for run in runs:
        started_at = run.started_at or run.created_at
        seconds = (run.ended_at or started_at) - started_at
        if run.state != "failed" or seconds >= SHORT_RUN_SECONDS:
            break
        failures += 1
    return min(MAX_BACKOFF_SECONDS, 2.0 * 2.0**failures) if failures else 0.0
