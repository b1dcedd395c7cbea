"""Every part of the pipeline against real services over TLS, with passwords: by settings alone.

Kafka with SASL/SCRAM, the registry and Kafka Connect with a user, MinIO; certificates of a private
authority. Shows G25.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner

from infra.native_stack.processes import marked_processes
from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli import health_checks
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.iceberg import live_files, open_table
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.listening.topic.opening import open_listener
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.certificates import Authority
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.secure_stack import SecureStack, secure_stack
from mastodon_pipeline_tests.support.simulated_servers import simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

TOOTS = 200


@pytest.fixture(scope="module")
def secure() -> Iterator[SecureStack]:
    with secure_stack() as stack:
        yield stack


@pytest.fixture(scope="module")
def landed(secure: SecureStack) -> Iterator[Settings]:
    """Toots of simulated servers, recorded by a listener and landed by the sink."""
    with pytest.MonkeyPatch.context() as monkeypatch, dg.DagsterInstance.ephemeral() as instance:
        assert kafka_connect_config.execute_in_process(instance=instance).success
        with Simulator(Options(toots=TOOTS, hours=3, speed=10_000)) as simulator:
            settings = simulator_settings(simulator, monkeypatch)
            listener = open_listener(settings.servers(), settings)
            thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.1})
            thread.start()
            simulator.wait_until_done(900)
            wait_until(lambda: sum(p.end for p in sink_progress(settings)) >= TOOTS, "all toots")
            listener.stop()
            thread.join(900)
        wait_for_sink(settings)
        yield settings


def test_toots_pass_from_a_listener_into_the_lake(landed: Settings) -> None:
    """The listener, Connect's consumer, converter and writer, DuckDB, pyiceberg."""
    with open_lake(landed) as lake:
        completeness = landing_completeness(landed, lake)
    table = open_table(landed)

    assert completeness.complete
    assert completeness.landed >= TOOTS
    assert table is not None
    assert live_files(table)
    assert table.scan().count() == completeness.landed


def test_commands_read_the_topic_and_the_lake(landed: Settings) -> None:
    """`consume` and `sql`."""
    consumed = CliRunner().invoke(cli, ["consume", "--from-beginning", "--limit", "3"])
    queried = CliRunner().invoke(cli, ["sql", "--csv", "SHOW TABLES"])

    assert consumed.exit_code == 0, consumed.output
    assert len(consumed.stdout.splitlines()) == 3
    assert queried.exit_code == 0, queried.output


def test_doctor_reports_all_services_healthy(landed: Settings) -> None:
    reports = {health.part: health for health in health_checks.check_health()}

    for part in ("Kafka", "schema registry", "object store", "sink"):
        assert reports[part].state == "healthy", reports[part]


def test_no_password_is_in_the_connectors_config_a_log_or_a_command_line(
    landed: Settings, secure: SecureStack
) -> None:
    """The worker reads them from its environment. Shows G20."""
    passwords = [v for k, v in secure.variables.items() if re.search("PASSWORD|SECRET", k)]
    with ConnectRest.of(landed) as connect:
        shown = str(connect.config(landed.connector_name))
    commands = " ".join(" ".join(p.cmdline()) for p in marked_processes(secure.data))

    logs = "".join(file.read_text(errors="replace") for file in (secure.data / "logs").iterdir())
    assert "${env:SCHEMA_REGISTRY_PASSWORD}" in shown
    assert len(passwords) == 5  # the dashboard's among them
    assert not [password for password in passwords if password in shown + commands + logs]


WRONG = {
    "Kafka": ({"KAFKA_SASL_PASSWORD": "wrong"}, "KAFKA_SASL_PASSWORD"),
    "schema registry": ({"SCHEMA_REGISTRY_PASSWORD": "wrong"}, "SCHEMA_REGISTRY_PASSWORD"),
    "object store": ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "AWS_SECRET_ACCESS_KEY"),
    "sink": ({"KAFKA_CONNECT_PASSWORD": "wrong"}, "KAFKA_CONNECT_PASSWORD"),
}


@pytest.mark.parametrize("part", WRONG)
def test_doctor_names_the_setting_of_a_wrong_password(
    part: str, landed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables, named = WRONG[part]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    [health] = [health for health in health_checks.check_health() if health.part == part]

    assert health.state == "unhealthy"
    assert named in health.detail
    assert "\n" not in health.detail


def test_doctor_names_the_setting_of_an_unknown_authority(
    landed: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SERVICES_CA_FILE", str(Authority(tmp_path).file))

    reports = {health.part: health for health in health_checks.check_health()}

    for part in WRONG:
        assert reports[part].state == "unhealthy"
        assert "SERVICES_CA_FILE" in reports[part].detail


@pytest.mark.parametrize(
    ("protocol", "reason"),
    [
        ("PLAINTEXT", "KAFKA_SECURITY_PROTOCOL to SSL"),
        ("SASL_PLAINTEXT", "KAFKA_SECURITY_PROTOCOL to SSL"),
        ("SSL", "KAFKA_SECURITY_PROTOCOL=SASL_SSL"),
    ],
)
def test_doctor_names_the_setting_of_a_wrong_protocol(
    protocol: str, reason: str, landed: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", protocol)

    [health] = [health for health in health_checks.check_health() if health.part == "Kafka"]

    assert health.state == "unhealthy"
    assert reason in health.detail
