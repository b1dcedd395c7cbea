"""The sink's health as Kafka Connect shows it, before Kafka is asked for its progress."""

import pytest

from mastodon_pipeline.landing.connector import drifted_keys, root_cause
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.health import SinkState, connector_health
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.scripted_connect import ScriptedConnect


def test_deleted_connector_is_missing_and_needs_repair(settings: Settings) -> None:
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.MISSING
    assert health.state.needs_repair


def test_different_config_is_drift_and_its_keys_are_listed(
    settings: Settings, connect: ScriptedConnect
) -> None:
    """Changed, removed and added keys; their values are not shown. Shows G11."""
    running = connector_config(settings) | {"tasks.max": "7", "added": "by hand"}
    del running["errors.tolerance"]
    connect.runs(running)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.DRIFTED
    assert "added, errors.tolerance, tasks.max" in health.detail
    assert "by hand" not in health.detail


def test_failed_task_is_reported_with_its_root_cause(
    settings: Settings, connect: ScriptedConnect
) -> None:
    """On one line: the first line of the stack trace, and the innermost cause. Shows G11."""
    trace = "ConnectException: exiting\n\tat a.b\nCaused by: NoSuchBucket: gone\n\tat c.d\n"
    connect.runs(connector_config(settings), state="FAILED", trace=trace)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.FAILED
    assert "task 0: ConnectException: exiting <- NoSuchBucket: gone" in health.detail


def test_paused_connector_needs_no_repair(settings: Settings, connect: ScriptedConnect) -> None:
    """A person paused it, so it stays paused."""
    config = connector_config(settings)
    connect.runs(config)
    paused = {"name": config["name"], "connector": {"state": "PAUSED"}, "tasks": []}
    connect.on(f"GET /connectors/{config['name']}/status", (200, paused))
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.PAUSED
    assert not health.state.needs_repair


@pytest.mark.parametrize("state", ["UNASSIGNED", "RESTARTING"])
def test_unassigned_or_restarting_task_is_starting(
    settings: Settings, connect: ScriptedConnect, state: str
) -> None:
    """A rebalance needs no repair."""
    connect.runs(connector_config(settings), state=state)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.STARTING
    assert not health.state.needs_repair


def test_rebalancing_worker_is_starting(settings: Settings, connect: ScriptedConnect) -> None:
    """Its answer 409 is not waited out: a sensor has no time for that."""
    conflict = (409, {"message": "rebalance"})
    connect.on(f"GET /connectors/{settings.connector_name}/config", conflict)
    assert connector_health(settings, None, now=0).state is SinkState.STARTING


def test_worker_that_does_not_answer_is_unreachable(settings: Settings) -> None:
    """Applying the config does not start a stack that is down; the detail says what does."""
    unreachable = settings.model_copy(update={"kafka_connect_url": "http://127.0.0.1:1"})
    health = connector_health(unreachable, None, now=0)
    assert health.state is SinkState.UNREACHABLE
    assert "make up" in health.detail
    assert not health.state.needs_repair


def test_order_of_keys_is_no_drift() -> None:
    assert drifted_keys({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == ()
    assert drifted_keys({"a": "1", "b": "2"}, None) == ("a", "b")


def test_root_cause_of_a_trace_without_cause_is_its_first_line() -> None:
    assert root_cause("Boom: bang\n\tat a.b(C.java:1)\n") == "Boom: bang"
    assert root_cause("") == "no trace was given"
