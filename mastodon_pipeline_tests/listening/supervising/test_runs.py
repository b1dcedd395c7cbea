"""Listener runs in Dagster's storage: heartbeats, assignments, and the fence between two runs."""

import time
from contextlib import suppress

import dagster as dg
import pytest

from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.observing import RunObserver
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    is_current,
    last_heartbeat,
    listener_runs,
    load_assignment,
    load_assignments,
    predecessor,
    save_assignment,
    send_heartbeat,
    successor,
)
from mastodon_pipeline.listening.supervising.supervised_run import (
    PeriodicTask,
    await_predecessor,
    first_assignment,
)
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.listening.supervising.dagster_runs import configure, make_run


def test_older_of_two_runs_yields_and_the_newer_waits_for_its_end(
    instance: dg.DagsterInstance,
) -> None:
    """Whoever started the newer one, it does not listen before the older has ended. Shows G4."""
    old = make_run(instance, dg.DagsterRunStatus.STARTED)
    new = make_run(instance, dg.DagsterRunStatus.STARTED)
    assert successor(instance, DEFAULT_GROUP, old.run_id) == new.run_id
    assert predecessor(instance, DEFAULT_GROUP, new.run_id) == old.run_id
    assert successor(instance, DEFAULT_GROUP, new.run_id) is None
    assert predecessor(instance, DEFAULT_GROUP, old.run_id) is None
    assert await_predecessor(instance, DEFAULT_GROUP, new.run_id, 0.1) == old.run_id
    instance.report_run_failed(old, "it has ended")
    assert await_predecessor(instance, DEFAULT_GROUP, new.run_id, 0.1) is None


def test_runs_of_another_group_are_no_predecessors(instance: dg.DagsterInstance) -> None:
    """The groups listen beside each other."""
    make_run(instance, dg.DagsterRunStatus.STARTED, "group-1")
    run = make_run(instance, dg.DagsterRunStatus.STARTED, "group-2")
    assert predecessor(instance, "group-2", run.run_id) is None


def test_run_that_was_marked_as_failed_is_not_current(instance: dg.DagsterInstance) -> None:
    """A hung process that wakes up again sees that it has been replaced. Shows G4."""
    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    assert is_current(instance, run.run_id)
    instance.report_run_failed(run, "no heartbeat")
    assert not is_current(instance, run.run_id)
    [failed] = listener_runs(instance, DEFAULT_GROUP)
    assert failed.state == "failed"


def test_heartbeat_belongs_to_the_run_that_sent_it(instance: dg.DagsterInstance) -> None:
    """The run before it has none any more; the supervisor sees the version it follows."""
    make_run(instance, dg.DagsterRunStatus.FAILURE)
    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    assert last_heartbeat(instance, DEFAULT_GROUP).run_id == ""
    send_heartbeat(instance, DEFAULT_GROUP, run.run_id, assignment_version=7)
    newer, older = listener_runs(instance, DEFAULT_GROUP)
    assert (newer.run_id, newer.assignment_version) == (run.run_id, 7)
    assert newer.has_heartbeat
    assert (older.has_heartbeat, older.assignment_version) == (False, None)


def test_run_is_silent_while_its_heartbeat_stays_the_same(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the observer's clock alone: the run's machine is an hour ahead. Shows G4."""
    seconds = 100.0
    observer = RunObserver(lambda: seconds)

    def silent_seconds() -> float:
        [run] = listener_runs(instance, DEFAULT_GROUP, observer)
        return run.silent_seconds

    run = make_run(instance, dg.DagsterRunStatus.STARTED)
    with monkeypatch.context() as other_machine:
        ahead = time.time() + 3600
        other_machine.setattr(time, "time", lambda: ahead)
        send_heartbeat(instance, DEFAULT_GROUP, run.run_id)
    assert silent_seconds() == 0
    seconds += 15
    assert silent_seconds() == 15
    send_heartbeat(instance, DEFAULT_GROUP, run.run_id)
    assert silent_seconds() == 0
    seconds += 7
    assert silent_seconds() == 7
    instance.report_run_failed(run, "its state is a sign, too")
    assert silent_seconds() == 0


def test_silent_predecessor_is_not_waited_for(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process is gone, and no sensor is on that would mark it: a person starts the next."""
    old = make_run(instance, dg.DagsterRunStatus.STARTED)
    send_heartbeat(instance, DEFAULT_GROUP, old.run_id)
    new = make_run(instance, dg.DagsterRunStatus.STARTED)
    seconds = 100.0
    observer = RunObserver(lambda: seconds)
    assert predecessor(instance, DEFAULT_GROUP, new.run_id, observer) == old.run_id
    seconds += 19
    assert predecessor(instance, DEFAULT_GROUP, new.run_id, observer) == old.run_id
    seconds += 2
    assert predecessor(instance, DEFAULT_GROUP, new.run_id, observer) is None


def test_assignments_are_loaded_as_they_were_saved(instance: dg.DagsterInstance) -> None:
    """A group without one has None."""
    assignment = Assignment((parse_server("a.example", "public"),), 3, ("https://b.example",), 5.0)
    save_assignment(instance, "group-2", assignment)
    assert load_assignments(instance, ["group-1", "group-2"]) == {
        "group-1": None,
        "group-2": assignment,
    }


def test_first_run_without_the_sensor_takes_its_servers_from_the_settings(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And saves them, so that a sensor switched on later knows which group follows what."""
    configure(monkeypatch, "a.example,b.example")
    assignment = first_assignment(instance, DEFAULT_GROUP, load_settings())
    assert [server.name for server in assignment.servers] == ["a.example", "b.example"]
    assert load_assignment(instance, DEFAULT_GROUP) == assignment


def test_saved_assignment_counts_more_than_the_settings(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor may be withholding a server that another group still follows."""
    configure(monkeypatch, "a.example,b.example")
    save_assignment(instance, DEFAULT_GROUP, Assignment((parse_server("a.example"),), 4))
    assignment = first_assignment(instance, DEFAULT_GROUP, load_settings())
    assert [server.name for server in assignment.servers] == ["a.example"]


def test_periodic_task_runs_once_per_period_and_survives_a_failure() -> None:
    """A failed call is not repeated before the next period."""
    calls: list[float] = []

    def fail() -> None:
        calls.append(time.monotonic())
        raise RuntimeError

    task, began = PeriodicTask(0.05, fail), time.monotonic()
    with pytest.raises(RuntimeError):
        task.run_if_due()
    while len(calls) < 2:
        with suppress(RuntimeError):
            task.run_if_due()
    assert calls[1] >= began + 0.05


def test_periodic_task_may_begin_later() -> None:
    """The first report waits for the first heartbeat."""
    calls: list[float] = []
    task = PeriodicTask(0.0, lambda: calls.append(0.0), first_after_seconds=3600)
    task.run_if_due()
    assert not calls
