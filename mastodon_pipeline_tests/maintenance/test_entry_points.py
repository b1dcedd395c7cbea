"""Maintenance from the shell and from Dagster, on the real stack."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.maintenance.jobs import lake_maintenance
from mastodon_pipeline_tests.support.sink_lake import SETTINGS, SinkLake

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]
COMMAND = str(Path(sys.executable).with_name("mastodon-pipeline"))


@pytest.fixture(autouse=True)
def environment(sink_lake: SinkLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake's settings in the environment, for the command's process."""
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name.upper(), value)


def maintain(*options: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    return subprocess.run(
        [COMMAND, "maintain", *options], capture_output=True, text=True, timeout=900
    )


def test_dry_run_from_the_shell_reports_and_changes_nothing(sink_lake: SinkLake) -> None:
    """Exit code 0, and counts and bytes on stdout."""
    before = sink_lake.objects()
    done = maintain("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be removed from the bucket: " in done.stdout
    assert "expired" in done.stdout
    assert sink_lake.objects() == before
    secret = sink_lake.settings.aws_secret_access_key
    assert secret is not None
    assert secret.get_secret_value() not in done.stdout + done.stderr


def test_missing_catalog_is_one_line_on_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the setting to check; no empty catalog is created."""
    catalog = Path("/no/such/directory/catalog.db")
    monkeypatch.setenv("ICEBERG_CATALOG_URI", f"jdbc:sqlite:file:{catalog}")
    done = maintain()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "LAKE_CATALOG_URI" in done.stderr
    assert not catalog.exists()


def test_job_shows_what_it_did(sink_lake: SinkLake) -> None:
    """As the op's metadata, and as an observation of landed_toots."""
    with dg.DagsterInstance.ephemeral() as instance:
        for dry_run in (True, False):
            config = dg.RunConfig({"maintain_lake": {"config": {"dry_run": dry_run}}})
            done = lake_maintenance.execute_in_process(instance=instance, run_config=config)
            assert done.success
        (shown,) = [
            event.step_output_data.metadata
            for event in done.all_events
            if event.event_type is dg.DagsterEventType.STEP_OUTPUT
        ]
        observations = instance.fetch_observations(dg.AssetKey("landed_toots"), limit=5).records
    assert shown["dry run"].value is False
    assert shown["folders removed"].value == 0, "nothing is old enough"
    assert len(observations) == 1, "a dry run is no observation"
