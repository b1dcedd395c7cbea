"""What Dagster loads is valid, by Dagster's own commands."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mastodon_pipeline.definitions import defs
from mastodon_pipeline.paths import REPOSITORY

pytestmark = pytest.mark.thorough

BIN = Path(sys.executable).parent


@pytest.mark.parametrize(
    "command",
    [["dagster", "definitions", "validate", "-w", "workspace.yaml"], ["dg", "check", "defs"]],
    ids=["dagster definitions validate", "dg check defs"],
)
def test_definitions_are_valid_without_a_stack(command: list[str], tmp_path: Path) -> None:
    """Both layouts load, with no Kafka, Connect or MinIO to be reached."""
    (tmp_path / "dagster.yaml").touch()
    outcome = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "DAGSTER_HOME": str(tmp_path),
            "MASTODON_PIPELINE_DATA": str(tmp_path),
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_refresh_makes_only_the_tables_own_checks() -> None:
    """The ledger's check, on `toots` as well, waits for the sink, and needs Kafka."""
    for name in ("refresh_hourly_usage", "refresh_daily_usage"):
        job = defs.resolve_job_def(name)
        # Other checks are ops of their own.
        tables = {key.to_python_identifier() for key in job.asset_layer.executable_asset_keys}
        assert set(job.graph.node_names()) == tables
