"""Where `.env` and `.data` are looked for."""

from pathlib import Path

import pytest

from mastodon_pipeline.paths import REPOSITORY, base_directory, data_directory


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


def test_tests_see_nothing_of_the_checkouts_own_stack() -> None:
    """What `make demo` has left there, keys and salt, would change what they test."""
    assert not data_directory().is_relative_to(REPOSITORY)
