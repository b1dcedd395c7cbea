"""Where the checkout, a person's own settings and the native stack's data are."""

import os
from pathlib import Path


def base_directory(package_parent: Path) -> Path:
    """Return the directory of `.env` and `.data`: the checkout, else the current directory.

    The directory that holds the package is a checkout if this project's pyproject.toml is in it;
    for an installed package it is site-packages.
    """
    try:
        project = (package_parent / "pyproject.toml").read_text("utf-8")
    except OSError:
        project = ""
    return package_parent if 'name = "mastodon-pipeline"' in project else Path.cwd()


REPOSITORY = Path(__file__).resolve().parent.parent
"""The checkout, for tests and benchmarks; meaningless for an installed package."""
BASE_DIRECTORY = base_directory(REPOSITORY)
OWN_FILE = Path(os.environ.get("MASTODON_PIPELINE_SETTINGS") or BASE_DIRECTORY / ".env").absolute()
"""A person's own settings and tokens, ignored by git: that of this process's start."""


def data_directory() -> Path:
    """Return where the stack has its data and Dagster its home.

    It is `MASTODON_PIPELINE_DATA`, or `.data` in the base directory.
    """
    return Path(os.environ.get("MASTODON_PIPELINE_DATA") or BASE_DIRECTORY / ".data").resolve()


def forgotten_file() -> Path:
    """Return the file by which this machine's listeners know who asked to be forgotten: hashes."""
    return data_directory() / "forgotten.txt"


def stack_file() -> Path:
    """Return the file with the native stack's addresses and MinIO's keys."""
    return data_directory() / "stack.env"
