"""What the listening stage offers to Dagster, and how its job fails."""

import dagster as dg
import pytest

from mastodon_pipeline.listening.definitions import definitions
from mastodon_pipeline.listening.jobs import mastodon_listener
from mastodon_pipeline_tests.listening.supervising.dagster_runs import configure


@pytest.mark.parametrize("name", ["listener_supervisor", "mastodon_topic_sensor"])
def test_sensors_are_on_from_the_start(name: str) -> None:
    """Nobody has to switch anything on after `make up`."""
    sensor = definitions.get_repository_def().get_sensor_def(name)
    assert sensor.default_status.value == "RUNNING"


def test_topic_has_its_check_and_depends_on_the_servers() -> None:
    """The stage's part of the asset graph."""
    graph = definitions.get_repository_def().asset_graph
    topic = dg.AssetKey("mastodon_topic")
    assert graph.get_all_asset_keys() == {dg.AssetKey("mastodon_servers"), topic}
    assert graph.get(topic).parent_keys == {dg.AssetKey("mastodon_servers")}
    assert graph.asset_check_keys == {dg.AssetCheckKey(topic, "all_servers_reporting")}


def test_missing_servers_fail_the_run_with_one_line_that_names_the_setting(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's mistake needs no traceback."""
    configure(monkeypatch, "")
    result = mastodon_listener.execute_in_process(instance=instance, raise_on_error=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    error = failure.step_failure_data.error
    assert error is not None
    assert "no servers to listen to: set MASTODON_SERVERS" in error.message
