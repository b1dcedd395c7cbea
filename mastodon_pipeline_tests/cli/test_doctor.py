"""`mastodon-pipeline doctor` where nothing is there; a healthy one is looked at in the demo."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from mastodon_pipeline.cli.doctor import doctor
from mastodon_pipeline.doctor import examine
from mastodon_pipeline.settings import Settings

pytestmark = pytest.mark.thorough


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty data directory, no settings, and every address one where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{taken.getsockname()[1]}"
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", nobody)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret")
    for name in ("SCHEMA_REGISTRY_URL", "KAFKA_CONNECT_URL", "S3_ENDPOINT"):
        monkeypatch.setenv(name, f"http://{nobody}")


def test_each_missing_part_is_named_with_what_mends_it() -> None:
    """All are looked at, none hides another, and each says `make up`; a script sees exit code 1."""
    outcome = CliRunner().invoke(doctor)
    assert outcome.exit_code == 1
    found = {line[4:20].strip(): line for line in outcome.stdout.splitlines()}
    for part in ("Kafka", "schema registry", "object store", "sink", "Dagster"):
        assert found[part].startswith("!!")
        assert "make up" in found[part]
    assert found["servers"].startswith("..")
    assert "SERVERS=" in found["servers"]
    assert "a-secret" not in outcome.output


def test_a_wrong_setting_is_the_only_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without settings nothing else can be looked at."""
    monkeypatch.setenv("SINK", "carrier-pigeon")
    [finding] = examine()
    assert finding.state == "ill"
    assert "SINK" in finding.detail
