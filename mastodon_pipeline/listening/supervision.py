"""What should be done about the listener runs: a decision from what is wanted and what is seen.

Pure of Dagster and of time, so that every rule is a line of a test:

- No run: start one. A run that failed: start another, at once where it had listened for a minute
  or longer, else after 2·2^n seconds (n failures in a row), 5 minutes at most.
- A run that is STARTED but has not beaten for 30 s has lost its process, or hangs: it is marked
  failed, and replaced. (If it wakes up again it sees that, and stops.)
- A run that a person terminated (CANCELED) means "stay down", until the job is launched by hand or
  the sensor is switched off and on. A run that was stopped by a signal counts as failed.
- The wanted servers changed: the run notices within seconds and ends well; then one is started
  that follows the new list.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from mastodon_pipeline.settings import Server

STALE_SECONDS = 30.0
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

    @property
    def active(self) -> bool:
        """Not yet at its end."""
        return self.state in ("waiting", "starting", "started", "stopping")


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now, and why, as the sensor's tick shows it."""

    explanation: str
    start: bool = False
    failed: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as failed, each with the reason."""
    canceled: tuple[tuple[str, str], ...] = ()
    """Run ids to mark as canceled: their Terminate was never answered."""


def servers_hash(servers: Sequence[Server]) -> str:
    """A short name for exactly this set of servers, whatever their order; no token is in it."""
    rows = sorted([server.base_url, server.feed, server.token_env] for server in servers)
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def decide(runs: Sequence[SeenRun], now: float, sensor_started_at: float | None) -> Decision:
    """The decision for one wanted group. `runs`: its latest, newest first, ten or more."""
    failed = tuple((run.run_id, why) for run in runs if (why := _lost(run, now)))
    canceled = tuple(
        (run.run_id, "it was terminated, and its process is gone")
        for run in runs
        if run.state == "stopping" and _silent(run, now)
    )
    lost = {run_id for run_id, _ in failed + canceled}
    alive = [run for run in runs if run.active and run.run_id not in lost]
    if alive:
        return Decision(_about(alive[0], now), failed=failed, canceled=canceled)
    if not runs:
        return Decision("no listener has run yet: starting one", start=True)
    last = runs[0]
    if last.run_id in {run_id for run_id, _ in failed}:
        why = f"run {last.run_id[:8]} is marked failed ({dict(failed)[last.run_id]}): starting anew"
        return Decision(why, start=True, failed=failed, canceled=canceled)
    if last.state == "canceled" or last.run_id in lost:
        ended = last.ended_at or now
        if sensor_started_at is not None and sensor_started_at > ended:
            return Decision("the sensor was switched on again: starting a listener", start=True)
        return Decision(
            f"run {last.run_id[:8]} was terminated by a person: staying down. Launch the job "
            "mastodon_listener, or switch this sensor off and on, to listen again",
            canceled=canceled,
        )
    if last.state == "failed":
        wait = _backoff(runs)
        left = (last.ended_at or last.created_at) + wait - now
        if left > 0:
            return Decision(f"run {last.run_id[:8]} failed: starting another in {left:.0f} s")
        return Decision(f"run {last.run_id[:8]} failed: starting another", start=True)
    return Decision(f"run {last.run_id[:8]} has ended: starting the next", start=True)


def _lost(run: SeenRun, now: float) -> str | None:
    if run.state == "started" and _silent(run, now):
        return f"no heartbeat for {now - _last_sign(run):.0f} s"
    if run.state == "starting" and now - run.created_at > STARTING_SECONDS:
        return f"still starting after {now - run.created_at:.0f} s"
    return None


def _silent(run: SeenRun, now: float) -> bool:
    return now - _last_sign(run) > STALE_SECONDS


def _last_sign(run: SeenRun) -> float:
    return max(run.beaten_at or 0.0, run.started_at or 0.0, run.created_at)


def _about(run: SeenRun, now: float) -> str:
    beat = f", its heartbeat {now - run.beaten_at:.0f} s old" if run.beaten_at else ""
    return f"run {run.run_id[:8]} is {run.state}{beat}: nothing to do"


def _backoff(runs: Sequence[SeenRun]) -> float:
    failures = 0
    for run in runs:
        began = run.started_at or run.created_at
        if run.state != "failed" or (run.ended_at or began) - began >= SHORT_RUN_SECONDS:
            break
        failures += 1
    return min(LONGEST_BACKOFF_SECONDS, 2.0 * 2.0**failures) if failures else 0.0
