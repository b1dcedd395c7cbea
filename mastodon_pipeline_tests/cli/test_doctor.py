"""`mastodon-pipeline doctor` on a machine where nothing runs; the demo tests a healthy one."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.doctor import doctor
from mastodon_pipeline.cli.health_checks import check_health
from mastodon_pipeline.settings import Settings

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def nothing_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty data directory, no settings, and addresses at which nothing listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unused.getsockname()[1]}"
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", address)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    for name in ("SCHEMA_REGISTRY_URL", "KAFKA_CONNECT_URL", "S3_ENDPOINT"):
        monkeypatch.setenv(name, f"http://{address}")


def test_doctor_names_each_missing_part_and_how_to_start_it() -> None:
    """All are checked, and none hides another; a script sees exit code 1."""
    result = CliRunner().invoke(doctor)
    assert result.exit_code == 1
    parts = {line[4:20].strip(): line for line in result.stdout.splitlines()}
    for part in ("Kafka", "schema registry", "object store", "sink", "Dagster"):
        assert parts[part].startswith("!!")
        assert "make up" in parts[part]
    assert parts["servers"].startswith("..")
    assert "SERVERS=" in parts["servers"]
    assert "a-secret" not in result.output
    assert "unhealthy; `make status`" in result.stderr


def test_doctor_reports_only_the_settings_if_they_are_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without settings nothing else can be checked."""
    monkeypatch.setenv("SINK", "carrier-pigeon")
    [health] = check_health()
    assert health.state == "unhealthy"
    assert "SINK" in health.detail
