"""The supervisor's rules, one a test."""

from dataclasses import replace

import pytest

from mastodon_pipeline.listening.supervising.rules import (
    ListenerRun,
    RunState,
    decide,
    live_runs,
)

NOW = 1_000_000.0


def run(
    state: RunState,
    *,
    run_id: str = "run-one-of-many",
    started: float = -600.0,
    ended: float | None = None,
    heartbeat: float | None = None,
) -> ListenerRun:
    """A run that was seen to change whenever it did; times in seconds from now."""
    last_change = next(seconds for seconds in (heartbeat, ended, started) if seconds is not None)
    return ListenerRun(
        run_id=run_id,
        state=state,
        created_at=NOW + started,
        started_at=NOW + started,
        ended_at=None if ended is None else NOW + ended,
        silent_seconds=-last_change,
        has_heartbeat=heartbeat is not None,
    )


def failures(count: int, last_ended: float) -> list[ListenerRun]:
    """So many failed runs of five seconds, newest first."""
    ends = [last_ended - 100.0 * number for number in range(count)]
    return [run("failed", run_id=f"failure{end}", started=end - 5, ended=end) for end in ends]


def test_first_listener_is_started() -> None:
    """No run of the group has ever existed."""
    assert decide([], NOW, None).start


@pytest.mark.parametrize("state", ["waiting", "starting", "started", "stopping"])
def test_no_second_run_is_started_beside_an_active_one(state: RunState) -> None:
    """Also while it is only on its way to listening, or to its end. Shows G4."""
    decision = decide([run(state, started=-15, heartbeat=-3)], NOW, None)
    assert not decision.start
    assert state in decision.explanation


def test_run_without_heartbeat_is_marked_as_failed_and_replaced() -> None:
    """After a power cut Dagster would show it as STARTED forever. Shows G4."""
    decision = decide([run("started", heartbeat=-21)], NOW, None)
    assert decision.start
    assert decision.failed == (("run-one-of-many", "no heartbeat for 21 s"),)


def test_newly_started_run_has_time_for_its_first_heartbeat() -> None:
    """Its start counts as a sign of life; it may wait for its predecessor to end."""
    assert not decide([run("started", started=-39)], NOW, None).failed
    assert decide([run("started", started=-41)], NOW, None).failed


def test_run_that_never_starts_is_replaced() -> None:
    """Its process died before it could report its start."""
    assert decide([run("starting", started=-181)], NOW, None).start


def test_run_has_twice_as_long_to_start_after_each_that_was_given_up() -> None:
    """A machine so busy that a start takes minutes would never listen again. Shows G4."""
    given_up = [replace(each, started_at=None) for each in failures(2, -200)]
    assert not decide([run("starting", started=-181), *given_up], NOW, None).start
    assert live_runs([run("starting", started=-181), *given_up], NOW)
    assert decide([run("starting", started=-241), *given_up], NOW, None).start
    assert decide([run("starting", started=-61), *failures(2, -200)], NOW, None).start


@pytest.mark.parametrize("ahead", [-60.0, 60.0])
def test_clock_of_the_runs_machine_does_not_matter(ahead: float) -> None:
    """A machine a minute ahead would seem alive for a minute longer, one behind dead. Shows G4."""

    def on_that_machine(run: ListenerRun) -> ListenerRun:
        started_at = None if run.started_at is None else run.started_at + ahead
        ended_at = None if run.ended_at is None else run.ended_at + ahead
        return replace(run, started_at=started_at, ended_at=ended_at)

    assert not decide([on_that_machine(run("started", heartbeat=-19))], NOW, None).failed
    assert decide([on_that_machine(run("started", heartbeat=-21))], NOW, None).start
    assert decide([on_that_machine(run("failed", ended=-5))], NOW, None).start
    by_then = on_that_machine(run("canceled", ended=-5))
    assert decide([by_then], NOW, sensor_started_at=NOW - 3 + max(0.0, -ahead)).start


def test_run_that_was_created_by_a_clock_behind_is_not_given_up_at_once() -> None:
    """It is replaced only after it was seen starting for as long as a heartbeat may take."""
    starting = replace(run("starting", started=-70), silent_seconds=5)
    assert not decide([starting], NOW, None).failed
    assert decide([replace(starting, silent_seconds=21)], NOW, None).failed


def test_lost_run_beside_a_live_one_is_only_marked() -> None:
    """The live one goes on alone."""
    lost = run("started", run_id="lost", heartbeat=-300)
    decision = decide([run("started", run_id="live", heartbeat=-1), lost], NOW, None)
    assert not decision.start
    assert [run_id for run_id, _ in decision.failed] == ["lost"]


def test_run_that_fails_after_a_long_time_is_replaced_at_once() -> None:
    """Only runs shorter than a minute count towards the backoff."""
    assert decide([run("failed", ended=-1)], NOW, None).start


@pytest.mark.parametrize(("count", "wait"), [(1, 4.0), (2, 8.0), (4, 32.0), (12, 300.0)])
def test_repeated_failures_are_followed_by_longer_waits(count: int, wait: float) -> None:
    """2·2^n seconds after the n-th failure in a row, five minutes at most."""
    assert not decide(failures(count, last_ended=-wait + 1), NOW, None).start
    assert decide(failures(count, last_ended=-wait - 1), NOW, None).start


def test_terminated_run_stays_down() -> None:
    """And the tick says how to listen again."""
    decision = decide([run("canceled", ended=-900)], NOW, sensor_started_at=NOW - 2000)
    assert not decision.start
    assert "switch this sensor off and on" in decision.explanation


def test_terminated_run_is_replaced_after_the_sensor_was_switched_on() -> None:
    """Switched on later than the Terminate."""
    assert decide([run("canceled", ended=-900)], NOW, sensor_started_at=NOW - 10).start


def test_run_launched_by_hand_after_a_terminate_is_kept_running() -> None:
    """If it fails it is replaced, although the one before was terminated."""
    by_hand = run("failed", run_id="by-hand", started=-300, ended=-5)
    assert decide([by_hand, run("canceled", run_id="before", ended=-900)], NOW, None).start


def test_terminated_run_whose_process_is_gone_is_marked_as_canceled() -> None:
    """No process answers the Terminate; the group stays down."""
    decision = decide([run("stopping", heartbeat=-60)], NOW, None)
    assert decision.canceled
    assert not decision.start


def test_run_that_ended_well_is_followed_by_the_next() -> None:
    """Its group had lost its servers, and has some again."""
    assert decide([run("ended", ended=-1)], NOW, None).start


def test_no_run_is_started_for_a_group_without_servers() -> None:
    """And the tick says why; a run that is still live ends by itself."""
    no_run = decide([run("ended", ended=-1)], NOW, None, servers=0)
    assert not no_run.start
    assert "no servers" in no_run.did
    live = decide([run("started", heartbeat=-1)], NOW, None, servers=0)
    assert not live.start
    assert "ends by itself" in live.did


def test_lost_run_of_a_group_without_servers_is_marked_as_failed() -> None:
    """Otherwise it would stay STARTED forever, and hold its servers."""
    decision = decide([run("started", heartbeat=-21)], NOW, None, servers=0)
    assert decision.failed
    assert not decision.start


def test_explanation_says_what_was_seen_and_done() -> None:
    """In one line, with the run's id and the reason."""
    lost = decide([run("started", heartbeat=-21)], NOW, None)
    assert lost.explanation == (
        "saw: run run-one-, started: no heartbeat for 21 s. "
        "did: marked run run-one- as failed (no heartbeat for 21 s), started another"
    )
    fine = decide([run("started", heartbeat=-3)], NOW, None)
    assert fine.explanation == "saw: run run-one-, started, its heartbeat 3 s old. did: nothing"


def test_live_runs_have_neither_ended_nor_lost_their_heartbeat() -> None:
    """Only they may be following servers."""
    runs = [run("waiting"), run("started", heartbeat=-1), run("started", heartbeat=-21)]
    runs += [run("stopping", heartbeat=-1), run("failed"), run("canceled"), run("ended")]
    assert [run.state for run in live_runs(runs, NOW)] == ["waiting", "started", "stopping"]
