"""Listener runs as Dagster's daemon would have made them, and a configuration to follow."""

import dagster as dg
import pytest

from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.supervising.runs import DEFAULT_GROUP, GROUP_TAG


def make_run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, group: str = DEFAULT_GROUP
) -> dg.DagsterRun:
    """Create a listener run in this state: FAILURE, CANCELED or STARTED."""
    run = instance.create_run_for_job(mastodon_listener, tags={GROUP_TAG: group})
    if status == dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run, "it was killed")
    elif status == dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, "a person")
    else:
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, mastodon_listener.name)
        instance.report_dagster_event(started, run.run_id)
    return run


def configure(monkeypatch: pytest.MonkeyPatch, servers: str, groups: int = 1) -> None:
    """Set the configured servers and the number of groups from now on."""
    monkeypatch.setenv("MASTODON_SERVERS", servers)
    monkeypatch.setenv("LISTENER_GROUPS", str(groups))
