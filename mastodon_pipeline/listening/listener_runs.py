"""Listener runs in Dagster's storage: their tags, heartbeats, and the fence between them.

Heartbeats and the wanted servers stand in the instance's key-value store, which every daemon and
run of the deployment can read; one row a group, so nothing grows.
"""

import json
import time

import dagster as dg

from mastodon_pipeline.listening.supervision import RunState, SeenRun

JOB_NAME = "mastodon_listener"
GROUP_TAG = "mastodon/listener_group"
SERVERS_TAG = "mastodon/servers_hash"
DEFAULT_GROUP = "default"

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


def beat(instance: dg.DagsterInstance, group: str, run_id: str) -> None:
    """Notes that this run is alive."""
    value = json.dumps({"run_id": run_id, "at": time.time()})
    instance.daemon_cursor_storage.set_cursor_values({_heartbeat_key(group): value})


def want(instance: dg.DagsterInstance, group: str, servers: str) -> None:
    """Notes which servers (by `servers_hash`; '' for none) the group shall follow."""
    instance.daemon_cursor_storage.set_cursor_values({_wanted_key(group): servers})


def seen_runs(instance: dg.DagsterInstance, group: str, limit: int = 15) -> list[SeenRun]:
    """The group's latest listener runs, newest first."""
    heartbeat = json.loads(_value(instance, _heartbeat_key(group)) or "{}")
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
            beaten_at=heartbeat.get("at")
            if heartbeat.get("run_id") == record.dagster_run.run_id
            else None,
        )
        for record in records
    ]


def reason_to_stop(
    instance: dg.DagsterInstance, group: str, run_id: str, servers: str
) -> str | None:
    """Why this run should stop listening by itself, or None: the fence against two at once."""
    wanted = _value(instance, _wanted_key(group))
    if wanted is not None and wanted != servers:
        return "the configured servers have changed"
    for run in seen_runs(instance, group):
        if run.run_id == run_id:
            return None
        if run.state == "started":
            return f"run {run.run_id[:8]} has taken over"
    return None


def is_current(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether Dagster still takes this run for running: not once it was marked failed."""
    run = instance.get_run_by_id(run_id)
    return run is not None and run.status in (
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    )


def _heartbeat_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/heartbeat"


def _wanted_key(group: str) -> str:
    return f"{JOB_NAME}/{group}/servers"


def _value(instance: dg.DagsterInstance, key: str) -> str | None:
    return instance.daemon_cursor_storage.get_cursor_values({key}).get(key)
