"""The sensor, the job and the fence against a real Dagster instance (SQLite, in memory)."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.listening.definitions import definitions
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.listener_runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    beat,
    is_current,
    reason_to_stop,
    seen_runs,
    want,
)
from mastodon_pipeline.listening.sensors import listener_supervisor

TAGS = {GROUP_TAG: DEFAULT_GROUP}


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTODON_SERVERS", "a.example,b.example")
    monkeypatch.setenv("MASTODON_TOKEN_A_EXAMPLE", "a-secret")


def tick(instance: dg.DagsterInstance, **context: Any) -> dg.SensorResult | dg.SkipReason:
    result = listener_supervisor(dg.build_sensor_context(instance=instance, **context))
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requested(instance: dg.DagsterInstance, **context: Any) -> dg.RunRequest:
    result = tick(instance, **context)
    assert isinstance(result, dg.SensorResult), result
    assert result.run_requests is not None
    [request] = result.run_requests
    assert isinstance(request, dg.RunRequest)
    return request


def skipped(instance: dg.DagsterInstance, **context: Any) -> str:
    result = tick(instance, **context)
    assert isinstance(result, dg.SkipReason), result
    return result.skip_message or ""


def a_run(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> dg.DagsterRun:
    """A listener run as the daemon would have made it, in this state."""
    run = instance.create_run_for_job(mastodon_listener, tags=TAGS)
    if status == dg.DagsterRunStatus.FAILURE:
        instance.report_run_failed(run, "it was killed")
    elif status == dg.DagsterRunStatus.CANCELED:
        instance.report_run_canceled(run, "a person")
    else:
        started = dg.DagsterEvent(dg.DagsterEventType.RUN_START.value, mastodon_listener.name)
        instance.report_dagster_event(started, run.run_id)
    return run


def test_the_stage_offers_its_objects() -> None:
    """What the UI shows of listening; the supervisor and the schedule are on from the start."""
    repository = definitions.get_repository_def()
    assert repository.get_sensor_def("listener_supervisor").default_status.value == "RUNNING"
    schedule = repository.get_schedule_def("mastodon_topic_observation_schedule")
    assert schedule.default_status.value == "RUNNING"
    keys = repository.asset_graph.get_all_asset_keys()
    assert keys == {dg.AssetKey("mastodon_servers"), dg.AssetKey("mastodon_topic")}


def test_it_starts_a_listener_for_the_configured_servers(instance: dg.DagsterInstance) -> None:
    """The run's config names servers and token variables, never a token."""
    request = requested(instance)
    config = request.run_config["ops"]["listen_to_servers"]["config"]
    assert [server["base_url"] for server in config["servers"]] == [
        "https://a.example",
        "https://b.example",
    ]
    assert request.tags[GROUP_TAG] == DEFAULT_GROUP
    assert "a-secret" not in f"{request}"


def test_every_start_has_a_run_key_of_its_own(instance: dg.DagsterInstance) -> None:
    """Dagster skips a used run key for ever."""
    first = requested(instance).run_key
    time.sleep(0.002)
    assert requested(instance).run_key != first


def test_no_servers_is_said_and_nothing_started(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the setting to make."""
    monkeypatch.setenv("MASTODON_SERVERS", "")
    assert "Set MASTODON_SERVERS" in skipped(instance)


def test_wrong_settings_do_not_stop_what_listens(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slip in a file must not end a good listener."""
    want(instance, DEFAULT_GROUP, "as-before")
    monkeypatch.setenv("MASTODON_SERVERS", "https://a.example/path")
    assert "https://a.example/path" in skipped(instance)
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    assert reason_to_stop(instance, DEFAULT_GROUP, run.run_id, "as-before") is None


def test_a_beating_listener_is_left_alone(instance: dg.DagsterInstance) -> None:
    """The tick says what it saw."""
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    beat(instance, DEFAULT_GROUP, run.run_id)
    assert f"run {run.run_id[:8]} is started, its heartbeat 0 s old" in skipped(instance)


def test_a_failed_listener_is_restarted(instance: dg.DagsterInstance) -> None:
    """A short one after its backoff, and the tick says when."""
    a_run(instance, dg.DagsterRunStatus.FAILURE)
    assert "failed: starting another in" in skipped(instance)


def test_a_terminated_listener_stays_down(instance: dg.DagsterInstance) -> None:
    """Until the sensor is switched on again."""
    a_run(instance, dg.DagsterRunStatus.CANCELED)
    assert "terminated by a person" in skipped(instance)
    switched_on = time.time() + 60
    assert requested(instance, last_sensor_start_time=switched_on)


def test_the_fence_lets_the_latest_run_listen(instance: dg.DagsterInstance) -> None:
    """An older one that is still there makes way, whoever started the newer one."""
    old = a_run(instance, dg.DagsterRunStatus.STARTED)
    new = a_run(instance, dg.DagsterRunStatus.STARTED)
    want(instance, DEFAULT_GROUP, "hash")
    assert reason_to_stop(instance, DEFAULT_GROUP, new.run_id, "hash") is None
    assert "has taken over" in str(reason_to_stop(instance, DEFAULT_GROUP, old.run_id, "hash"))


def test_the_fence_stops_a_run_with_an_old_list(instance: dg.DagsterInstance) -> None:
    """A tick after the configuration changed, the run sees it."""
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    tick(instance)
    reason = reason_to_stop(instance, DEFAULT_GROUP, run.run_id, "of-the-old-list")
    assert reason == "the configured servers have changed"


def test_a_run_that_was_marked_failed_is_not_current(instance: dg.DagsterInstance) -> None:
    """A hung process that wakes up again sees that it has been replaced."""
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    assert is_current(instance, run.run_id)
    instance.report_run_failed(run, "no heartbeat")
    assert not is_current(instance, run.run_id)
    [seen] = seen_runs(instance, DEFAULT_GROUP)
    assert seen.state == "failed"


def test_a_persons_mistake_fails_the_run_with_one_clear_line(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback of ours; the setting to make is named."""
    monkeypatch.setenv("MASTODON_SERVERS", "")
    result = mastodon_listener.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    assert "no servers to listen to: set MASTODON_SERVERS" in error.message
