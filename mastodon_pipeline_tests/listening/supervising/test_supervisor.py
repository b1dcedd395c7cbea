"""The sensor `listener_supervisor` against a real Dagster instance (SQLite, in memory)."""

import time
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.listening.sensors import listener_supervisor, supervise
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    GROUP_TAG,
    load_assignment,
    load_values,
    send_heartbeat,
)
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.listening.supervising.dagster_runs import configure, make_run

SIX_SERVERS = "a.example,b.example,c.example,d.example,e.example,f.example"


@pytest.fixture(autouse=True)
def two_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    configure(monkeypatch, "a.example,b.example")
    monkeypatch.setenv("MASTODON_TOKEN_A_EXAMPLE", "a-secret")


def assigned_groups(instance: dg.DagsterInstance, *groups: str) -> dict[str, str]:
    """Return the group of each assigned server; none may be in two."""
    group_by_server: dict[str, str] = {}
    for group in groups:
        assignment = load_assignment(instance, group)
        for server in assignment.servers if assignment else ():
            assert server.name not in group_by_server, "a server in two groups"
            group_by_server[server.name] = group
    return group_by_server


def tick(instance: dg.DagsterInstance, **context: Any) -> dg.SensorResult | dg.SkipReason:
    result = listener_supervisor(dg.build_sensor_context(instance=instance, **context))
    assert isinstance(result, dg.SensorResult | dg.SkipReason)
    return result


def requested_run(instance: dg.DagsterInstance, **context: Any) -> dg.RunRequest:
    result = tick(instance, **context)
    assert isinstance(result, dg.SensorResult), result
    assert result.run_requests is not None
    [request] = result.run_requests
    assert isinstance(request, dg.RunRequest)
    return request


def skip_message(instance: dg.DagsterInstance, **context: Any) -> str:
    result = tick(instance, **context)
    assert isinstance(result, dg.SkipReason), result
    return result.skip_message or ""


def test_supervisor_starts_a_listener_for_the_configured_servers(
    instance: dg.DagsterInstance,
) -> None:
    """The group's assignment names servers and token variables, never a token."""
    request = requested_run(instance)
    assert request.tags == {GROUP_TAG: DEFAULT_GROUP}
    assert assigned_groups(instance, DEFAULT_GROUP) == {
        "a.example": DEFAULT_GROUP,
        "b.example": DEFAULT_GROUP,
    }
    [saved] = load_values(instance, "mastodon_listener/group-1/assignment")
    assert "MASTODON_TOKEN_A_EXAMPLE" in str(saved)
    assert "a-secret" not in f"{request} {saved}"


def test_run_keys_of_two_starts_differ(instance: dg.DagsterInstance) -> None:
    """Dagster skips a run key that was ever used."""
    first = requested_run(instance).run_key
    time.sleep(0.002)
    assert requested_run(instance).run_key != first


def test_run_keys_of_two_groups_differ(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two groups that start in one tick are two runs."""
    configure(monkeypatch, SIX_SERVERS, groups=2)
    requests, _ = supervise(instance, load_settings(), None, RunObserver())
    assert len({request.run_key for request in requests}) == 2


def test_without_servers_the_tick_names_the_setting_to_make(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And starts nothing."""
    configure(monkeypatch, "")
    assert "Set MASTODON_SERVERS" in skip_message(instance)


def test_wrong_settings_do_not_stop_a_running_listener(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A typo in a file must not change what is followed."""
    tick(instance)
    before = load_assignment(instance, DEFAULT_GROUP)
    configure(monkeypatch, "https://a.example/path")
    assert "https://a.example/path" in skip_message(instance)
    assert load_assignment(instance, DEFAULT_GROUP) == before


def test_listener_with_a_fresh_heartbeat_is_left_alone(instance: dg.DagsterInstance) -> None:
    """The tick says what it saw."""
    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    send_heartbeat(instance, DEFAULT_GROUP, run.run_id)
    message = skip_message(instance)
    assert message.startswith("wanted: group-1, 2 servers. saw: ")
    assert f"run {run.run_id[:8]}, started, its heartbeat 0 s old. did: nothing" in message


def test_failed_listener_is_restarted_after_its_backoff(instance: dg.DagsterInstance) -> None:
    """The tick says when."""
    make_run(instance, dg.DagsterRunStatus.FAILURE)
    assert "another is started in 4 s" in skip_message(instance)


def test_terminated_listener_stays_down_until_the_sensor_is_switched_on(
    instance: dg.DagsterInstance,
) -> None:
    """Then it is started again."""
    make_run(instance, dg.DagsterRunStatus.CANCELED)
    assert "a person terminated it, so it stays down" in skip_message(instance)
    switched_on = time.time() + 60
    assert requested_run(instance, last_sensor_start_time=switched_on)


def test_each_group_is_supervised_separately(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One listens, one was terminated, one has never run: each is a line of the tick."""
    configure(monkeypatch, SIX_SERVERS, groups=3)
    listening = make_run(instance, dg.DagsterRunStatus.STARTED, "group-1")
    send_heartbeat(instance, "group-1", listening.run_id)
    make_run(instance, dg.DagsterRunStatus.CANCELED, "group-2")
    requests, lines = supervise(instance, load_settings(), None, RunObserver())
    assert [request.tags[GROUP_TAG] for request in requests] == ["group-3"]
    assert [line.split(",")[0] for line in lines] == [
        "wanted: group-1",
        "wanted: group-2",
        "wanted: group-3",
    ]
    assert "did: nothing" in lines[0]
    assert "it stays down" in lines[1]
    assert "did: started a run" in lines[2]
    assert len(assigned_groups(instance, "group-1", "group-2", "group-3")) == 6


def test_server_changes_groups_in_two_steps(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new group gets it once the former one's run acknowledges that it has released it."""
    configure(monkeypatch, SIX_SERVERS, groups=1)
    tick(instance)
    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    send_heartbeat(instance, DEFAULT_GROUP, run.run_id, assignment_version=1)
    configure(monkeypatch, SIX_SERVERS, groups=2)
    assert "more once their former group has released them" in skip_message(instance)
    remaining = assigned_groups(instance, "group-1", "group-2")
    assert 0 < len(remaining) < 6
    assert set(remaining.values()) == {"group-1"}
    assert "more once" in skip_message(instance)  # it has not acknowledged yet
    send_heartbeat(instance, DEFAULT_GROUP, run.run_id, assignment_version=2)
    assert requested_run(instance).tags[GROUP_TAG] == "group-2"
    after = assigned_groups(instance, "group-1", "group-2")
    assert len(after) == 6
    assert remaining.items() <= after.items()


def test_group_that_is_not_configured_any_more_ends_and_hands_over(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its run is left without servers and stops by itself; then the other group gets them."""
    configure(monkeypatch, SIX_SERVERS, groups=2)
    tick(instance)
    groups = ("group-1", "group-2")
    runs = {group: make_run(instance, dg.DagsterRunStatus.STARTED, group) for group in groups}
    for group, run in runs.items():
        send_heartbeat(instance, group, run.run_id, assignment_version=1)
    configure(monkeypatch, SIX_SERVERS, groups=1)
    message = skip_message(instance)
    assert "wanted: group-2, 0 servers" in message
    assert "it ends by itself" in message
    instance.report_run_canceled(runs["group-2"], "stands for its end")
    tick(instance)
    assert assigned_groups(instance, *groups) == dict.fromkeys(SIX_SERVERS.split(","), "group-1")
