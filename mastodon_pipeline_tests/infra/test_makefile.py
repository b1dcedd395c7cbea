"""What `make` says where it cannot install uv."""

import os
import subprocess
from pathlib import Path

import pytest

from mastodon_pipeline.paths import REPOSITORY

OLD = "exit 1"
WITHOUT_VENV_AND_PIP = 'case "$*" in *version_info*) ;; *) exit 1 ;; esac'
OFFLINE = """
case "$*" in
  *version_info*) ;;
  *"-m venv"*) mkdir -p .uv/venv/bin; printf '#!/bin/sh\\nexit 1' > .uv/venv/bin/pip
               chmod +x .uv/venv/bin/pip ;;
  *) echo "asked for: $*" >&2; exit 1 ;;
esac"""


@pytest.mark.parametrize(
    ("python", "line"),
    [
        (OLD, "is missing or older than 3.11; name another: make PYTHON=/path/to/python3.11"),
        (WITHOUT_VENV_AND_PIP, "has neither venv nor pip: install them (Debian, Ubuntu: apt"),
        (OFFLINE, "could not get uv from PyPI; is the network up?"),
    ],
    ids=["old", "without-venv-and-pip", "offline"],
)
def test_make_names_what_is_missing(tmp_path: Path, python: str, line: str) -> None:
    """In one line, beside make's own, and before anything is installed."""
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{python}\n")
    interpreter.chmod(0o755)

    made = subprocess.run(
        ["make", "-f", REPOSITORY / "Makefile", ".uv/path", f"PYTHON={interpreter}"],
        cwd=tmp_path,
        env={"PATH": os.defpath},
        capture_output=True,
        text=True,
        check=False,
    )

    message, end = made.stderr.splitlines()
    assert line in message
    assert end.startswith("make: ***")
    assert not (tmp_path / ".uv" / "path").exists()
