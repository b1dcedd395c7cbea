"""The supervisor's rules, one a test."""

import pytest

from mastodon_pipeline.listening.supervising.rules import RunState, SeenRun, decide, living

NOW = 1_000_000.0


def run(
    state: RunState,
    *,
    run_id: str = "run-one-of-many",
    began: float = -600.0,
    ended: float | None = None,
    beaten: float | None = None,
) -> SeenRun:
    """A run; times in seconds from now."""
    return SeenRun(
        run_id=run_id,
        state=state,
        created_at=NOW + began,
        started_at=NOW + began,
        ended_at=None if ended is None else NOW + ended,
        beaten_at=None if beaten is None else NOW + beaten,
    )


def failures(count: int, ended: float) -> list[SeenRun]:
    return [
        run("failed", run_id=f"failure-{n}", began=ended - 100.0 * n - 5, ended=ended - 100.0 * n)
        for n in range(count)
    ]


def test_the_first_listener_is_started() -> None:
    """Nothing has ever run."""
    assert decide([], NOW, None).start


@pytest.mark.parametrize("state", ["waiting", "starting", "started", "stopping"])
def test_one_that_is_on_its_way_is_enough(state: RunState) -> None:
    """Never twice at once."""
    decision = decide([run(state, began=-15, beaten=-3)], NOW, None)
    assert not decision.start
    assert state in decision.explanation


def test_a_lost_heartbeat_is_marked_and_replaced() -> None:
    """After a power cut the run would stay STARTED for ever."""
    decision = decide([run("started", beaten=-21)], NOW, None)
    assert decision.start
    assert decision.failed == (("run-one-of-many", "no heartbeat for 21 s"),)


def test_a_listener_that_has_just_started_has_time_to_beat() -> None:
    """Its start counts as a sign of life."""
    assert not decide([run("started", began=-19)], NOW, None).failed
    assert decide([run("started", began=-21)], NOW, None).failed


def test_one_that_never_starts_is_replaced() -> None:
    """Its process died before it could say so."""
    assert decide([run("starting", began=-181)], NOW, None).start


def test_a_lost_one_beside_a_living_one_is_only_marked() -> None:
    """The living one goes on alone."""
    lost = run("started", run_id="lost", beaten=-300)
    decision = decide([run("started", run_id="living", beaten=-1), lost], NOW, None)
    assert not decision.start
    assert [run_id for run_id, _ in decision.failed] == ["lost"]


def test_one_that_had_listened_well_is_replaced_at_once() -> None:
    """An accident, not a habit."""
    assert decide([run("failed", ended=-1)], NOW, None).start


@pytest.mark.parametrize(("count", "wait"), [(1, 4.0), (2, 8.0), (4, 32.0), (12, 300.0)])
def test_failing_again_and_again_waits_longer(count: int, wait: float) -> None:
    """2·2^n seconds after the n-th failure in a row, five minutes at most."""
    assert not decide(failures(count, ended=-wait + 1), NOW, None).start
    assert decide(failures(count, ended=-wait - 1), NOW, None).start


def test_terminate_means_stay_down() -> None:
    """And the tick says how to listen again."""
    decision = decide([run("canceled", ended=-900)], NOW, sensor_started_at=NOW - 2000)
    assert not decision.start
    assert "switch this sensor off and on" in decision.explanation


def test_until_the_sensor_is_switched_on_again() -> None:
    """Later than the Terminate."""
    assert decide([run("canceled", ended=-900)], NOW, sensor_started_at=NOW - 10).start


def test_or_the_job_is_launched_by_hand() -> None:
    """From then on it is kept running again."""
    by_hand = run("failed", run_id="by-hand", began=-300, ended=-5)
    assert decide([by_hand, run("canceled", run_id="before", ended=-900)], NOW, None).start


def test_a_terminate_that_nobody_answered_is_finished() -> None:
    """The process was gone already; it stays down."""
    decision = decide([run("stopping", beaten=-60)], NOW, None)
    assert decision.canceled
    assert not decision.start


def test_one_that_ended_well_is_followed_by_the_next() -> None:
    """Its group had lost its servers, and has some again."""
    assert decide([run("ended", ended=-1)], NOW, None).start


def test_a_group_without_servers_gets_no_run() -> None:
    """And the tick says why; one that still runs ends by itself."""
    none = decide([run("ended", ended=-1)], NOW, None, servers=0)
    assert not none.start
    assert "no servers" in none.did
    still = decide([run("started", beaten=-1)], NOW, None, servers=0)
    assert not still.start
    assert "ends by itself" in still.did


def test_a_lost_run_of_a_group_without_servers_is_still_marked() -> None:
    """Else it would stay STARTED for ever, and hold its servers."""
    decision = decide([run("started", beaten=-21)], NOW, None, servers=0)
    assert decision.failed
    assert not decision.start


def test_the_tick_says_what_was_seen_and_done() -> None:
    """In one line, with the run's id and the reason."""
    lost = decide([run("started", beaten=-21)], NOW, None)
    assert lost.explanation == (
        "saw: run run-one-, started: no heartbeat for 21 s. "
        "did: marked run run-one- as failed (no heartbeat for 21 s), started another"
    )
    fine = decide([run("started", beaten=-3)], NOW, None)
    assert fine.explanation == "saw: run run-one-, started, its heartbeat 3 s old. did: nothing"


def test_the_living_are_those_that_have_neither_ended_nor_gone_silent() -> None:
    """Only they may be following servers."""
    runs = [run("waiting"), run("started", beaten=-1), run("started", beaten=-21)]
    runs += [run("stopping", beaten=-1), run("failed"), run("canceled"), run("ended")]
    assert [one.state for one in living(runs, NOW)] == ["waiting", "started", "stopping"]
