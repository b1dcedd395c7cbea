"""Where `.env` and `.data` are looked for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mastodon_pipeline.paths import OWN_FILE, REPOSITORY, base_directory, data_directory


@pytest.mark.parametrize(
    ("pyproject", "is_checkout"),
    [
        ('[project]\nname = "mastodon-pipeline"\n', True),
        ('[project]\nname = "another"\n', False),
        (None, False),
    ],
)
def test_base_directory_is_the_checkout_or_the_current_directory(
    pyproject: str | None, is_checkout: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installed package must not look for `.env` in site-packages."""
    parent, current = tmp_path / "parent", tmp_path / "current"
    parent.mkdir()
    current.mkdir()
    if pyproject is not None:
        (parent / "pyproject.toml").write_text(pyproject)
    monkeypatch.chdir(current)
    assert base_directory(parent) == (parent if is_checkout else current)


def test_data_directory_is_set_by_one_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """MASTODON_PIPELINE_DATA moves data, logs and Dagster's home together."""
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(tmp_path))
    assert data_directory() == tmp_path.resolve()


def test_own_settings_are_those_of_the_file_that_one_variable_names(tmp_path: Path) -> None:
    """As a Compose file's variable of that name does."""
    own = tmp_path / "mine.env"
    own.write_text("S3_BUCKET=mine\n")
    script = (
        "from mastodon_pipeline.settings import load_settings; print(load_settings().s3_bucket)"
    )
    environment = {**os.environ, "MASTODON_PIPELINE_SETTINGS": str(own)}
    command = [sys.executable, "-c", script]
    assert subprocess.check_output(command, env=environment, text=True) == "mine\n"


def test_tests_see_nothing_of_the_checkouts_own_stack_and_settings() -> None:
    """What is there, keys and salt, servers and tokens, would change what they test."""
    assert not data_directory().is_relative_to(REPOSITORY)
    assert not OWN_FILE.is_relative_to(REPOSITORY)
