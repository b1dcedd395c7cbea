"""The ledger balanced within a sensor's tick, by a run where that does not do. Shows G26."""

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.ledger import sensors
from mastodon_pipeline.ledger.assets import CHECK, earlier_check
from mastodon_pipeline.ledger.sensors import ledger_sensor
from mastodon_pipeline.listening.supervising.runs import save_value
from mastodon_pipeline_tests.ledger.conftest import ENVIRONMENT, Books


def tick(instance: dg.DagsterInstance) -> dg.SensorResult:
    result = ledger_sensor(dg.build_sensor_context(instance=instance))
    assert isinstance(result, dg.SensorResult)
    return result


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


@pytest.mark.integration
def test_tick_reports_the_check(
    instance: dg.DagsterInstance, books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    books.receive_all(20)
    for _ in range(2):
        result = tick(instance)
        assert not result.run_requests
        [event] = result.asset_events
        assert isinstance(event, dg.AssetCheckEvaluation)
        assert event.asset_check_key == CHECK
        assert "20 received" in str(event.description) or event.metadata["received"].value
        instance.report_runless_asset_event(event)
    earlier = earlier_check(instance)
    assert earlier is not None
    assert earlier.acknowledged >= 20


@pytest.mark.integration
def test_runs_make_the_checks_where_one_takes_long(
    instance: dg.DagsterInstance, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it found is reported all the same; after an hour a tick tries again."""
    monkeypatch.setattr(sensors, "LONGEST_SECONDS", 0.0)
    assert tick(instance).asset_events
    [request] = tick(instance).run_requests or ()
    assert isinstance(request, dg.RunRequest)
    save_value(instance, sensors._KEY, "1700000000")
    assert tick(instance).asset_events


def test_run_shows_why_a_check_fails(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run fails as well, with one line that names the fix; runs that keep failing are an alert.

    So it is for a tick that Dagster gave up, or that died with its process.
    """
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "alone")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    for _ in range(2):
        result = tick(instance)
        assert not result.asset_events
        assert len(result.run_requests or ()) == 1
