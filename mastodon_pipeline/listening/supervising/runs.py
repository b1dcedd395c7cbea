"""Listener runs in Dagster's storage: their tags, heartbeats, and the fence between them.

Heartbeats and assignments stand in the instance's key-value store, which every daemon and run of
the deployment can read; one row each a group, so nothing grows.
"""

import os
import socket
import time
from collections.abc import Sequence

import dagster as dg
import msgspec

from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.rules import RunState, SeenRun, living

JOB_NAME = "mastodon_listener"
GROUP_TAG = "mastodon/listener_group"
DEFAULT_GROUP = "group-1"
"""The group of a run that was launched by hand and says nothing else."""

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
    """A group's run is alive."""

    run_id: str = ""
    at: float = 0.0
    """Seconds since 1970, UTC."""
    follows: int | None = None
    """The version of its group's assignment that it follows."""
    host: str = ""
    pid: int = 0


def beat(instance: dg.DagsterInstance, group: str, run_id: str, follows: int | None = None) -> None:
    """Notes that this run is alive, and which version of its group's assignment it follows."""
    value = Heartbeat(run_id, time.time(), follows, socket.gethostname(), os.getpid())
    keep(instance, _heartbeat_key(group), msgspec.json.encode(value).decode())


def heartbeat_of(instance: dg.DagsterInstance, group: str) -> Heartbeat:
    """The group's last heartbeat; an empty one where there never was any."""
    [value] = kept(instance, _heartbeat_key(group))
    return msgspec.json.decode(value, type=Heartbeat) if value else Heartbeat()


def assign(instance: dg.DagsterInstance, group: str, assignment: Assignment) -> None:
    """Notes what the group shall follow: its run applies it within seconds. No token is in it."""
    keep(instance, _assignment_key(group), msgspec.json.encode(assignment).decode())


def assignment_of(instance: dg.DagsterInstance, group: str) -> Assignment | None:
    """What the group shall follow; None where nothing has been noted."""
    return assignments_of(instance, [group])[group]


def assignments_of(
    instance: dg.DagsterInstance, groups: Sequence[str]
) -> dict[str, Assignment | None]:
    """The same of several groups."""
    values = kept(instance, *map(_assignment_key, groups))
    return {
        group: msgspec.json.decode(value, type=Assignment) if value else None
        for group, value in zip(groups, values, strict=True)
    }


def seen_runs(instance: dg.DagsterInstance, group: str, limit: int = 15) -> list[SeenRun]:
    """The group's latest listener runs, newest first."""
    heartbeat = heartbeat_of(instance, group)
    records = instance.get_run_records(
        dg.RunsFilter(job_name=JOB_NAME, tags={GROUP_TAG: group}), limit=limit
    )
    return [
        SeenRun(
            run_id=record.dagster_run.run_id,
            state=_STATES[record.dagster_run.status],
            created_at=record.create_timestamp.timestamp(),
            started_at=record.start_time,
            ended_at=record.end_time,
            beaten_at=heartbeat.at if heartbeat.run_id == record.dagster_run.run_id else None,
            follows=heartbeat.follows if heartbeat.run_id == record.dagster_run.run_id else None,
        )
        for record in records
    ]


def groups_with_runs(instance: dg.DagsterInstance) -> set[str]:
    """The groups that have a run which has not ended, wanted or not."""
    runs = instance.get_runs(dg.RunsFilter(job_name=JOB_NAME, statuses=_ACTIVE))
    return {run.tags.get(GROUP_TAG, DEFAULT_GROUP) for run in runs}


def successor(instance: dg.DagsterInstance, group: str, run_id: str) -> str | None:
    """A newer started run of the same group, to which this one has to make way; or None."""
    for run in seen_runs(instance, group):
        if run.run_id == run_id:
            return None
        if run.state == "started":
            return run.run_id
    return None


def predecessor(instance: dg.DagsterInstance, group: str, run_id: str) -> str | None:
    """An older living run of the same group, whose end this one has to wait for; or None."""
    runs = seen_runs(instance, group)
    place = next((n for n, run in enumerate(runs) if run.run_id == run_id), len(runs))
    for run in living(runs[place + 1 :], time.time()):
        if run.state in ("started", "stopping"):
            return run.run_id
    return None


def is_current(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether Dagster still takes this run for running: not once it was marked failed."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in (
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    )


def keep(instance: dg.DagsterInstance, key: str, value: str) -> None:
    """Keeps a value in the instance's storage, in place of what was there."""
    instance.daemon_cursor_storage.set_cursor_values({key: value})


def kept(instance: dg.DagsterInstance, *keys: str) -> list[str | None]:
    """The values that were kept, in the order of the keys; None where there is none."""
    found = instance.daemon_cursor_storage.get_cursor_values(set(keys))
    return [found.get(key) for key in keys]


def _heartbeat_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/heartbeat"


def _assignment_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/assignment"
