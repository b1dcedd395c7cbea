"""Maintenance from the shell and from Dagster, on the real stack: both tell what they would do."""

import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.maintenance.jobs import lake_maintenance
from mastodon_pipeline_tests.maintenance.conftest import NAMES, KeptLake

pytestmark = pytest.mark.integration
COMMAND = str(Path(sys.executable).with_name("mastodon-pipeline"))


@pytest.fixture(autouse=True)
def environment(sunk: KeptLake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lake's names, where a process of its own finds them."""
    for name, value in NAMES.items():
        monkeypatch.setenv(name.upper(), value)


def maintain(*options: str) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it."""
    return subprocess.run(
        [COMMAND, "maintain", *options], capture_output=True, text=True, timeout=120
    )


def test_a_dry_run_from_the_shell(sunk: KeptLake) -> None:
    """Exit code 0, counts and bytes on stdout, and the bucket as it was."""
    before = sunk.objects()
    done = maintain("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "would be removed from the bucket: " in done.stdout
    assert "expired" in done.stdout
    assert sunk.objects() == before
    secret = sunk.settings.aws_secret_access_key
    assert secret is not None
    assert secret.get_secret_value() not in done.stdout + done.stderr


def test_what_is_wrong_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog that is not there, with the setting to look at; and no empty one is made."""
    catalog = Path("/no/such/directory/catalog.db")
    monkeypatch.setenv("ICEBERG_CATALOG_URI", f"jdbc:sqlite:file:{catalog}")
    done = maintain()
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "LAKE_CATALOG_URI" in done.stderr
    assert not catalog.exists()


def test_the_job_shows_what_it_did(sunk: KeptLake) -> None:
    """As the op's metadata, and as an observation of what it maintains."""
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
        found = instance.fetch_observations(dg.AssetKey("landed_toots"), limit=5).records
    assert shown["dry run"].value is False
    assert shown["hours removed"].value == 0, "nothing is old enough"
    assert len(found) == 1, "a dry run is no observation"
