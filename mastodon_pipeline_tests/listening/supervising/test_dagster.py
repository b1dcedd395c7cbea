"""The sensor, the job and the fence against a real Dagster instance (SQLite, in memory)."""

import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.listening.definitions import definitions
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline.listening.sensors import listener_supervisor, supervise
from mastodon_pipeline.listening.supervising.run import await_predecessor, first_assignment
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    assignment_of,
    beat,
    is_current,
    predecessor,
    seen_runs,
    successor,
)
from mastodon_pipeline.settings import load_settings


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture(autouse=True)
def servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MASTODON_SERVERS", "a.example,b.example")
    monkeypatch.setenv("MASTODON_TOKEN_A_EXAMPLE", "a-secret")


def wants(monkeypatch: pytest.MonkeyPatch, servers: str, groups: int) -> None:
    """The configuration from now on."""
    monkeypatch.setenv("MASTODON_SERVERS", servers)
    monkeypatch.setenv("LISTENER_GROUPS", f"{groups}")


def assigned(instance: dg.DagsterInstance, *groups: str) -> dict[str, str]:
    """Which group each server is assigned to."""
    found = {}
    for group in groups:
        assignment = assignment_of(instance, group)
        for server in assignment.servers if assignment else ():
            assert server.name not in found, "a server in two groups"
            found[server.name] = group
    return found


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


def a_run(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus, group: str = DEFAULT_GROUP
) -> dg.DagsterRun:
    """A listener run as the daemon would have made it, in this state."""
    run = instance.create_run_for_job(mastodon_listener, tags={GROUP_TAG: group})
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
    checks = {check.name for check in repository.asset_graph.asset_check_keys}
    assert checks == {"wanted_servers_are_heard"}


def test_it_starts_a_listener_for_the_configured_servers(instance: dg.DagsterInstance) -> None:
    """The group's assignment names servers and token variables, never a token."""
    request = requested(instance)
    assert request.tags == {GROUP_TAG: DEFAULT_GROUP}
    assert assigned(instance, DEFAULT_GROUP) == {
        "a.example": DEFAULT_GROUP,
        "b.example": DEFAULT_GROUP,
    }
    kept = instance.daemon_cursor_storage.get_cursor_values(
        {"mastodon_listener/group-1/assignment"}
    )
    assert "MASTODON_TOKEN_A_EXAMPLE" in f"{kept}"
    assert "a-secret" not in f"{request} {kept}"


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
    tick(instance)
    before = assignment_of(instance, DEFAULT_GROUP)
    monkeypatch.setenv("MASTODON_SERVERS", "https://a.example/path")
    assert "https://a.example/path" in skipped(instance)
    assert assignment_of(instance, DEFAULT_GROUP) == before


def test_a_beating_listener_is_left_alone(instance: dg.DagsterInstance) -> None:
    """The tick says what it saw."""
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    beat(instance, DEFAULT_GROUP, run.run_id)
    said = skipped(instance)
    assert said.startswith("wanted: group-1, 2 servers. saw: ")
    assert f"run {run.run_id[:8]}, started, its heartbeat 0 s old. did: nothing" in said


def test_a_failed_listener_is_restarted(instance: dg.DagsterInstance) -> None:
    """A short one after its backoff, and the tick says when."""
    a_run(instance, dg.DagsterRunStatus.FAILURE)
    assert "another is started in 4 s" in skipped(instance)


def test_a_terminated_listener_stays_down(instance: dg.DagsterInstance) -> None:
    """Until the sensor is switched on again."""
    a_run(instance, dg.DagsterRunStatus.CANCELED)
    assert "a person terminated it, so it stays down" in skipped(instance)
    switched_on = time.time() + 60
    assert requested(instance, last_sensor_start_time=switched_on)


def test_of_two_runs_the_older_makes_way_and_the_newer_waits(
    instance: dg.DagsterInstance,
) -> None:
    """Whoever started the newer one: it does not listen before the older has ended."""
    old = a_run(instance, dg.DagsterRunStatus.STARTED)
    new = a_run(instance, dg.DagsterRunStatus.STARTED)
    assert successor(instance, DEFAULT_GROUP, old.run_id) == new.run_id
    assert predecessor(instance, DEFAULT_GROUP, new.run_id) == old.run_id
    assert successor(instance, DEFAULT_GROUP, new.run_id) is None
    assert predecessor(instance, DEFAULT_GROUP, old.run_id) is None
    assert await_predecessor(instance, DEFAULT_GROUP, new.run_id, seconds=0.1) == old.run_id
    instance.report_run_failed(old, "it has ended")
    assert await_predecessor(instance, DEFAULT_GROUP, new.run_id, seconds=0.1) is None


def test_the_groups_are_supervised_one_by_one(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listens, one was terminated, one has never run: each is a line of the tick."""
    wants(monkeypatch, "a.example,b.example,c.example,d.example,e.example,f.example", groups=3)
    listening = a_run(instance, dg.DagsterRunStatus.STARTED, "group-1")
    beat(instance, "group-1", listening.run_id)
    a_run(instance, dg.DagsterRunStatus.CANCELED, "group-2")
    requests, lines = supervise(instance, load_settings(), None)
    assert [request.tags[GROUP_TAG] for request in requests] == ["group-3"]
    assert [line.split(",")[0] for line in lines] == [
        "wanted: group-1",
        "wanted: group-2",
        "wanted: group-3",
    ]
    assert "did: nothing" in lines[0]
    assert "it stays down" in lines[1]
    assert "did: started a run" in lines[2]
    assert len(assigned(instance, "group-1", "group-2", "group-3")) == 6


def test_a_server_changes_hands_in_two_steps(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second group gets its servers once the first one's run says it has let go of them."""
    wants(monkeypatch, "a.example,b.example,c.example,d.example,e.example,f.example", groups=1)
    tick(instance)
    run = a_run(instance, dg.DagsterRunStatus.STARTED)
    beat(instance, DEFAULT_GROUP, run.run_id, follows=1)
    wants(monkeypatch, "a.example,b.example,c.example,d.example,e.example,f.example", groups=2)
    assert "more once their former group has let go of them" in skipped(instance)
    kept = assigned(instance, "group-1", "group-2")
    assert 0 < len(kept) < 6
    assert set(kept.values()) == {"group-1"}
    assert "more once" in skipped(instance)  # it has not said so yet
    beat(instance, DEFAULT_GROUP, run.run_id, follows=2)
    assert requested(instance).tags[GROUP_TAG] == "group-2"
    after = assigned(instance, "group-1", "group-2")
    assert len(after) == 6
    assert kept.items() <= after.items()


def test_a_group_that_is_not_wanted_any_more_ends_well(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is left without servers, and stops by itself; the others get them when it has."""
    wants(monkeypatch, "a.example,b.example,c.example,d.example", groups=2)
    tick(instance)
    runs = {g: a_run(instance, dg.DagsterRunStatus.STARTED, g) for g in ("group-1", "group-2")}
    for group, run in runs.items():
        beat(instance, group, run.run_id, follows=1)
    monkeypatch.setenv("LISTENER_GROUPS", "1")
    said = skipped(instance)
    assert "wanted: group-2, 0 servers" in said
    assert "it ends by itself" in said
    instance.report_run_canceled(runs["group-2"], "stands for its end")
    tick(instance)
    assert assigned(instance, "group-1", "group-2") == dict.fromkeys(
        ["a.example", "b.example", "c.example", "d.example"], "group-1"
    )


def test_another_run_key_for_every_group(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups that start in one tick are two runs."""
    wants(monkeypatch, "a.example,b.example,c.example,d.example,e.example", groups=2)
    requests, _ = supervise(instance, load_settings(), None)
    assert len({request.run_key for request in requests}) == 2


def test_without_the_sensor_a_run_takes_its_servers_from_the_settings(
    instance: dg.DagsterInstance,
) -> None:
    """And notes them, so that a sensor switched on later knows who follows what."""
    first_assignment(instance, DEFAULT_GROUP, load_settings())
    assert set(assigned(instance, DEFAULT_GROUP)) == {"a.example", "b.example"}


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
