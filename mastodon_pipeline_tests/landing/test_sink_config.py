"""The sink's config on the real stack: applied, repaired, and refused with the reason."""

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.landing.health import SinkState
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.landing_sink import FIRST, HOURS, sink_state, wait_for_sink
from mastodon_pipeline_tests.support.producing import produce, toots

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("sink_environment")]


def test_connects_rest_api_shows_no_secret(sink: Settings, landed: int, stack: Stack) -> None:
    """It answers anyone on the machine."""
    with ConnectRest.of(sink) as connect:
        shown = str(connect.config(sink.connector_name))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        assert stack.environment[name] not in shown


def test_applying_the_config_again_changes_nothing(sink: Settings, landed: int) -> None:
    """The job shows the config and the tasks' states, without a secret."""
    with dg.DagsterInstance.ephemeral() as instance:
        result = kafka_connect_config.execute_in_process(instance=instance)
    shown = [
        event.step_output_data.metadata
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.STEP_OUTPUT
    ]
    assert shown[0]["changed"].value == "nothing"
    assert shown[0]["state"].value == "connector RUNNING, task 0 RUNNING"
    assert shown[0]["config"].value == connector_config(sink)
    secret = sink.aws_secret_access_key
    assert secret is not None
    assert secret.get_secret_value() not in str(shown)


def test_drifted_config_is_repaired(sink: Settings, landed: int) -> None:
    """A change over REST is noticed, listed and undone."""
    wanted = connector_config(sink)
    with ConnectRest.of(sink) as connect:
        connect.put_config(sink.connector_name, wanted | {"tasks.max": "2"})
        assert sink_state(sink) is SinkState.DRIFTED
        applied = apply_connector_config(sink, print)
        assert applied.changed == ("tasks.max",)
        assert connect.config(sink.connector_name) == wanted


def test_rejected_config_is_reported_key_by_key(sink: Settings, landed: int) -> None:
    """The running connector stays as it was."""
    wrong = connector_config(sink) | {"errors.tolerance": "some"}
    with pytest.raises(
        PipelineError, match=r"errors\.tolerance: .*mastodon_pipeline/schemas"
    ) as rejected:
        apply_connector_config(sink, print, wanted=wrong)
    assert "\n" not in str(rejected.value)
    assert sink_state(sink) is not SinkState.DRIFTED


def test_task_that_cannot_start_is_reported_with_its_root_cause(
    sink: Settings, landed: int
) -> None:
    """On one line, with the setting to check."""
    wrong = sink.model_copy(
        update={
            "connector_name": "landing-broken-sink",
            "iceberg_catalog_uri": "jdbc:sqlite:file:/no/such/directory/catalog.db",
        }
    )
    try:
        with pytest.raises(PipelineError, match=r"task \d failed: .*ICEBERG_CATALOG_URI") as error:
            apply_connector_config(wrong, print)
    finally:
        with ConnectRest.of(sink) as connect:
            connect.delete("landing-broken-sink")
    assert "\n" not in str(error.value)


def test_wrong_keys_are_one_line_that_names_the_settings(sink: Settings) -> None:
    """MinIO refuses them; the line says which settings to check, and not their values."""
    wrong = load_settings(aws_secret_access_key="not-the-secret")
    with pytest.raises(PipelineError, match="AWS_SECRET_ACCESS_KEY") as refused:
        ensure_bucket(wrong)
    assert "not-the-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


def test_sink_configured_before_the_registry_asked_for_a_password_goes_on_landing(
    sink: Settings, landed: int
) -> None:
    """It reads with its old config until that is repaired; no good record is a dead letter."""
    wanted = connector_config(sink)
    without = {key: value for key, value in wanted.items() if ".auth." not in key}
    assert wanted.keys() - without.keys() == {
        "value.converter.apicurio.auth.username",
        "value.converter.apicurio.auth.password",
    }
    wait_for_sink(sink)
    letters = len(read_sink_letters(sink).unsettled)
    try:
        apply_connector_config(sink, print, wanted=without)
        produce(sink, toots(20, FIRST, HOURS))
        wait_for_sink(sink)
        assert len(read_sink_letters(sink).unsettled) == letters
        assert sink_state(sink) is SinkState.DRIFTED
    finally:
        assert apply_connector_config(sink, print).status.running
