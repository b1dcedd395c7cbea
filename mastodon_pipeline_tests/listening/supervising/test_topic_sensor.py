"""The topic observed within a sensor's tick, by a run where that does not do."""

import time

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.listening.sensors import OBSERVATION_SECONDS, mastodon_topic_sensor
from mastodon_pipeline.listening.supervising.checks import CHECK
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline_tests.listening.supervising.dagster_runs import configure
from mastodon_pipeline_tests.support.kafka_topics import with_new_topics


def tick(instance: dg.DagsterInstance, last_seconds_ago: float | None) -> dg.SensorResult:
    cursor = None if last_seconds_ago is None else f"{time.time() - last_seconds_ago:.0f}"
    result = mastodon_topic_sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(result, dg.SensorResult)
    assert float(result.cursor or 0) == pytest.approx(time.time(), abs=600)
    return result


@pytest.mark.parametrize("last_seconds_ago", [None, 5 * OBSERVATION_SECONDS])
def test_listeners_have_time_to_start_before_servers_are_judged(
    instance: dg.DagsterInstance, last_seconds_ago: float | None
) -> None:
    """After a night without power no server is reported as silent."""
    result = tick(instance, last_seconds_ago)
    assert not result.asset_events
    assert not result.run_requests


def test_run_shows_why_an_observation_fails(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LISTENER_GROUPS", "many")
    result = tick(instance, OBSERVATION_SECONDS)
    assert not result.asset_events
    assert len(result.run_requests or ()) == 1


@pytest.mark.integration
def test_tick_reports_observation_and_check(
    instance: dg.DagsterInstance, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = with_new_topics(monkeypatch, "observed")
    configure(monkeypatch, "a.example")
    open_kafka(settings)[0].close(10)
    result = tick(instance, OBSERVATION_SECONDS)
    assert not result.run_requests
    check, observation = result.asset_events
    assert isinstance(check, dg.AssetCheckEvaluation)
    assert check.asset_check_key == CHECK
    assert not check.passed
    assert "a.example" in (check.description or "")
    assert isinstance(observation, dg.AssetObservation)
    assert observation.metadata["end_offset"].value == 0
