"""When the sink is repaired, and what the supervisor's ticks report."""

from collections.abc import Callable
from itertools import pairwise

import dagster as dg
import pytest

from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.health import Health, SinkState, Watermark
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sensors import connector_supervisor
from mastodon_pipeline.landing.supervision import SupervisorMemory, decide
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.scripted_connect import ScriptedConnect

MISSING = Health(SinkState.MISSING, "no connector", None)
HEALTHY = Health(SinkState.HEALTHY, "all well", Watermark(5, 100.0))


def test_pauses_between_repairs_grow_up_to_two_minutes() -> None:
    """The first repair comes at once, the second 30 s later, the next 60 s after that.

    Shows G11.
    """
    memory = SupervisorMemory()
    repairs = []
    for now in range(1_000, 5_000):
        decision = decide(MISSING, memory, repair_in_progress=False, now=now)
        memory = decision.memory
        if decision.repair:
            repairs.append(now)
    gaps = [later - earlier for earlier, later in pairwise(repairs)]
    assert repairs[0] == 1_000
    assert gaps[:2] == [30, 60]
    assert set(gaps[2:]) == {120}


def test_healthy_sink_resets_the_pause() -> None:
    """The next fault is repaired at once."""
    memory = SupervisorMemory(attempts=6, requested_at=1_000)
    memory = decide(HEALTHY, memory, repair_in_progress=False, now=1_010).memory
    assert memory.watermark == HEALTHY.watermark
    assert decide(MISSING, memory, repair_in_progress=False, now=1_011).repair


def test_control_topic_that_was_made_again_is_repaired_once() -> None:
    """A healthy sink announces its files where nobody reads them. Shows G11."""
    memory = decide(HEALTHY, SupervisorMemory(), False, 1_000, "first").memory
    assert memory.control_topic_id == "first"
    assert not decide(HEALTHY, memory, False, 1_010, None).repair, "Kafka did not answer"
    waiting = decide(HEALTHY, memory, True, 1_020, "second")
    assert not waiting.repair
    decision = decide(HEALTHY, waiting.memory, False, 1_030, "second")
    assert decision.repair
    assert "control topic was made again" in decision.explanation
    assert not decide(HEALTHY, decision.memory, False, 1_040, "second").repair


def test_no_repair_is_requested_while_one_is_in_progress() -> None:
    """Shows G11."""
    decision = decide(MISSING, SupervisorMemory(), repair_in_progress=True, now=1_000)
    assert not decision.repair
    assert "in progress" in decision.explanation


def test_stalled_sink_gets_its_running_tasks_restarted() -> None:
    """The watermark is dropped, so the repaired sink has the full time to move."""
    stalled = Health(SinkState.STALLED, "stalled", Watermark(5, 100.0))
    decision = decide(stalled, SupervisorMemory(), repair_in_progress=False, now=1_000)
    assert decision.repair
    assert decision.restart_tasks
    assert decision.memory.watermark is None


def put_back_times(letters: Callable[[float], int], seconds: int) -> list[int]:
    """Return when dead letters are put back, if so many are open at each moment."""
    memory, times = SupervisorMemory(), []
    for now in range(1_000, 1_000 + seconds, 20):
        health = Health(SinkState.DEAD_LETTERING, "letters", None, letters(now))
        decision = decide(health, memory, repair_in_progress=False, now=now)
        memory = decision.memory
        if decision.put_back:
            times.append(now)
    return times


def test_dead_letters_are_put_back_at_once_and_what_is_left_ever_less_often() -> None:
    """What is no record stays in them until a person dismisses it. Shows G10."""
    times = put_back_times(lambda now: 1, 100_000)
    assert times[:3] == [1_000, 1_040, 1_100]
    assert len(times) < 20


def test_more_dead_letters_are_put_back_within_two_minutes() -> None:
    """However long others have been left there. Shows G10."""
    times = put_back_times(lambda now: 1 if now < 90_000 else 1 + int(now - 90_000), 95_000)
    after = [time for time in times if time >= 90_000]
    assert after[0] <= 90_000 + 120
    assert max(later - earlier for earlier, later in pairwise(after)) <= 140


def test_paused_sink_is_not_repaired() -> None:
    """Shows G11."""
    paused = Health(SinkState.PAUSED, "paused", None)
    assert not decide(paused, SupervisorMemory(), repair_in_progress=False, now=1_000).repair


def test_memory_survives_as_a_cursor() -> None:
    """A cursor that cannot be read gives an empty memory."""
    memory = SupervisorMemory(Watermark(5, 100.0), 2, 1_000.5)
    assert SupervisorMemory.from_cursor(memory.to_cursor()) == memory
    assert SupervisorMemory.from_cursor("what is this") == SupervisorMemory()
    assert SupervisorMemory.from_cursor(None) == SupervisorMemory()


@pytest.fixture
def environment(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted Connect in the environment, where the sensor reads its settings."""
    for name in ("kafka_connect_url", "kafka_bootstrap_servers", "s3_endpoint"):
        monkeypatch.setenv(name.upper(), getattr(settings, name))


def tick(instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    result = connector_supervisor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    return result


@pytest.mark.thorough
@pytest.mark.usefixtures("environment", "connect")
def test_missing_connector_gets_one_run_at_a_time() -> None:
    """The next tick sees the run in progress."""
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(instance)
        assert first.run_requests is not None
        assert [request.run_key is not None for request in first.run_requests] == [True]
        instance.create_run_for_job(kafka_connect_config, status=dg.DagsterRunStatus.STARTED)
        second = tick(instance, SupervisorMemory().to_cursor())
    assert not second.run_requests
    assert "a repair is in progress" in str(second.skip_reason)


@pytest.mark.thorough
@pytest.mark.usefixtures("environment")
def test_tick_reports_what_it_wanted_saw_and_did(
    connect: ScriptedConnect, settings: Settings
) -> None:
    """Drifted keys are listed."""
    connect.runs(connector_config(settings) | {"tasks.max": "9"})
    with dg.DagsterInstance.ephemeral() as instance:
        requested = tick(instance)
        waiting = tick(instance, requested.cursor)
    assert requested.run_requests
    reason = str(waiting.skip_reason)
    assert "wanted: iceberg sink mastodon-sink running as reviewed" in reason
    assert "saw: drifted, mastodon-sink runs with a different tasks.max" in reason
    assert "Did: nothing, repaired 1 times without success" in reason


def test_stack_that_is_down_is_reported_and_not_repaired(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tick names the command that starts it."""
    monkeypatch.setenv("KAFKA_CONNECT_URL", "http://127.0.0.1:1")
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(instance)
    assert not result.run_requests
    assert "make up" in str(result.skip_reason)
