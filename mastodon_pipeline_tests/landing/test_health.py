"""What the supervisor can see of a sink before it looks at Kafka, and how it tells it."""

import pytest

from mastodon_pipeline.landing.connector import drifted_keys, root_cause
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.health import SinkState, connector_health
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.landing.conftest import ScriptedConnect


def test_no_connector_is_missing(settings: Settings) -> None:
    """A deleted connector is missing and needs repair."""
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.MISSING
    assert health.state.needs_repair


def test_another_config_is_drift_and_its_keys_are_named(
    settings: Settings, connect: ScriptedConnect
) -> None:
    """Changed, removed and added keys all count; values are not shown."""
    running = connector_config(settings) | {"tasks.max": "7", "added": "by hand"}
    del running["errors.tolerance"]
    connect.runs(running)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.DRIFTED
    assert "added, errors.tolerance, tasks.max" in health.detail
    assert "by hand" not in health.detail


def test_a_failed_task_is_told_with_its_root_cause(
    settings: Settings, connect: ScriptedConnect
) -> None:
    """One line: what was thrown, and what was at the bottom of it."""
    trace = "ConnectException: exiting\n\tat a.b\nCaused by: NoSuchBucket: gone\n\tat c.d\n"
    connect.runs(connector_config(settings), state="FAILED", trace=trace)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.FAILED
    assert "task 0: ConnectException: exiting <- NoSuchBucket: gone" in health.detail


def test_a_paused_connector_is_left_alone(settings: Settings, connect: ScriptedConnect) -> None:
    """Somebody paused it, so it stays paused."""
    config = connector_config(settings)
    connect.runs(config)
    paused = {"name": config["name"], "connector": {"state": "PAUSED"}, "tasks": []}
    connect.on(f"GET /connectors/{config['name']}/status", (200, paused))
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.PAUSED
    assert not health.state.needs_repair


@pytest.mark.parametrize("state", ["UNASSIGNED", "RESTARTING"])
def test_a_task_on_its_way_is_starting(
    settings: Settings, connect: ScriptedConnect, state: str
) -> None:
    """A rebalance is no reason to intervene."""
    connect.runs(connector_config(settings), state=state)
    health = connector_health(settings, None, now=0)
    assert health.state is SinkState.STARTING
    assert not health.state.needs_repair


def test_a_worker_that_rebalances_is_starting(settings: Settings, connect: ScriptedConnect) -> None:
    """409 is answered at once: a sensor has no time to wait."""
    conflict = (409, {"message": "rebalance"})
    connect.on(f"GET /connectors/{settings.connector_name}/config", conflict)
    assert connector_health(settings, None, now=0).state is SinkState.STARTING


def test_no_worker_is_unreachable_and_says_what_to_do(settings: Settings) -> None:
    """A stack that is down is not repaired by putting configs."""
    away = settings.model_copy(update={"kafka_connect_url": "http://127.0.0.1:1"})
    health = connector_health(away, None, now=0)
    assert health.state is SinkState.UNREACHABLE
    assert "make up" in health.detail
    assert not health.state.needs_repair


def test_equal_configs_do_not_drift() -> None:
    """The order of keys means nothing."""
    assert drifted_keys({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == ()
    assert drifted_keys({"a": "1", "b": "2"}, None) == ("a", "b")


def test_a_trace_without_cause_is_its_first_line() -> None:
    """And an empty one says so."""
    assert root_cause("Boom: bang\n\tat a.b(C.java:1)\n") == "Boom: bang"
    assert root_cause("") == "no trace was given"
