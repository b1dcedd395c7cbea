"""Listener runs in Dagster's storage: their tags, heartbeats and assignments, and the fence.

Heartbeats and assignments are values in the instance's key-value store, which every daemon and run
of the deployment can read; one row each per group, so nothing grows.
"""

import os
import socket
import time
from collections.abc import Sequence

import dagster as dg
import msgspec

from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.rules import ListenerRun, RunState, live_runs

JOB_NAME = "mastodon_listener"
GROUP_TAG = "mastodon/listener_group"
DEFAULT_GROUP = "group-1"
"""The group of a run that was launched by hand without the tag."""

_STATES: dict[dg.DagsterRunStatus, RunState] = {
    dg.DagsterRunStatus.QUEUED: "waiting",
    dg.DagsterRunStatus.NOT_STARTED: "starting",
    dg.DagsterRunStatus.MANAGED: "waiting",
    dg.DagsterRunStatus.STARTING: "starting",
    dg.DagsterRunStatus.STARTED: "started",
    dg.DagsterRunStatus.CANCELING: "stopping",
    dg.DagsterRunStatus.CANCELED: "canceled",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.SUCCESS: "ended",
}
_ACTIVE = [
    status
    for status, state in _STATES.items()
    if state in ("waiting", "starting", "started", "stopping")
]


class Heartbeat(msgspec.Struct, frozen=True):
    """The last sign of life of a group's run."""

    run_id: str = ""
    sent_at: float = 0.0
    """Seconds since 1970, UTC, by the clock of the run's machine: to tell two heartbeats apart."""
    assignment_version: int | None = None
    """The version of its group's assignment that the run follows; None before it follows one."""
    host: str = ""
    pid: int = 0


def send_heartbeat(
    instance: dg.DagsterInstance, group: str, run_id: str, assignment_version: int | None = None
) -> None:
    """Save that this run is alive, and which version of its group's assignment it follows."""
    heartbeat = Heartbeat(
        run_id, time.time(), assignment_version, socket.gethostname(), os.getpid()
    )
    save_value(instance, _heartbeat_key(group), msgspec.json.encode(heartbeat).decode())


def last_heartbeat(instance: dg.DagsterInstance, group: str) -> Heartbeat:
    """Return the group's last heartbeat; an empty one if there never was any."""
    [value] = load_values(instance, _heartbeat_key(group))
    return msgspec.json.decode(value, type=Heartbeat) if value else Heartbeat()


def save_assignment(instance: dg.DagsterInstance, group: str, assignment: Assignment) -> None:
    """Save what the group is to follow: its run applies it within seconds. It holds no token."""
    save_value(instance, _assignment_key(group), msgspec.json.encode(assignment).decode())


def load_assignment(instance: dg.DagsterInstance, group: str) -> Assignment | None:
    """Return what the group is to follow, or None if no assignment was ever saved."""
    return load_assignments(instance, [group])[group]


def load_assignments(
    instance: dg.DagsterInstance, groups: Sequence[str]
) -> dict[str, Assignment | None]:
    """Return the assignments of several groups, with one query."""
    values = load_values(instance, *map(_assignment_key, groups))
    return {
        group: msgspec.json.decode(value, type=Assignment) if value else None
        for group, value in zip(groups, values, strict=True)
    }


def listener_runs(
    instance: dg.DagsterInstance, group: str, observer: RunObserver | None = None, limit: int = 15
) -> list[ListenerRun]:
    """Return the group's latest runs, newest first; without an observer, none has been silent."""
    observer = observer or RunObserver()
    heartbeat = last_heartbeat(instance, group)
    records = instance.get_run_records(
        dg.RunsFilter(job_name=JOB_NAME, tags={GROUP_TAG: group}), limit=limit
    )
    runs = []
    for record in records:
        run_id = record.dagster_run.run_id
        state = _STATES[record.dagster_run.status]
        own_heartbeat = heartbeat if heartbeat.run_id == run_id else None
        runs.append(
            ListenerRun(
                run_id=run_id,
                state=state,
                created_at=record.create_timestamp.timestamp(),
                started_at=record.start_time,
                ended_at=record.end_time,
                silent_seconds=observer.silent_seconds(run_id, (state, own_heartbeat)),
                has_heartbeat=own_heartbeat is not None,
                assignment_version=own_heartbeat.assignment_version if own_heartbeat else None,
            )
        )
    return runs


def groups_with_runs(instance: dg.DagsterInstance) -> set[str]:
    """Return the groups that have a run which has not ended, configured or not."""
    runs = instance.get_runs(dg.RunsFilter(job_name=JOB_NAME, statuses=_ACTIVE))
    return {run.tags.get(GROUP_TAG, DEFAULT_GROUP) for run in runs}


def successor(instance: dg.DagsterInstance, group: str, run_id: str) -> str | None:
    """Return a newer started run of the group, to which this one must yield, or None."""
    for run in listener_runs(instance, group):
        if run.run_id == run_id:
            return None
        if run.state == "started":
            return run.run_id
    return None


def predecessor(
    instance: dg.DagsterInstance, group: str, run_id: str, observer: RunObserver | None = None
) -> str | None:
    """Return an older live run of the group, whose end this one must wait for, or None."""
    runs = listener_runs(instance, group, observer)
    index = next((n for n, run in enumerate(runs) if run.run_id == run_id), len(runs))
    for run in live_runs(runs[index + 1 :], time.time()):
        if run.state in ("started", "stopping"):
            return run.run_id
    return None


def is_current(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Return whether Dagster considers this run as running: not after it was marked as failed."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in (
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    )


def save_value(instance: dg.DagsterInstance, key: str, value: str) -> None:
    """Save a value in the instance's key-value store, in place of the former one."""
    instance.daemon_cursor_storage.set_cursor_values({key: value})


def load_values(instance: dg.DagsterInstance, *keys: str) -> list[str | None]:
    """Return the saved values in the order of the keys; None for a key without a value."""
    values = instance.daemon_cursor_storage.get_cursor_values(set(keys))
    return [values.get(key) for key in keys]


def _heartbeat_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/heartbeat"


def _assignment_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/assignment"
