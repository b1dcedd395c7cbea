"""The Python of `make test-newest`: unpacked as its list says, or one line that says why not."""

import gzip
import json
import platform
from pathlib import Path

import pytest

from infra.native_stack.errors import StackError
from infra.newest_python import VERSION, newest_python, unpack


def test_files_are_unpacked_as_listed(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "bin").mkdir(parents=True)
    (source / "bin" / "python3.14.gz").write_bytes(gzip.compress(b"#!/bin/sh\n"))
    (source / "bin" / "pip").write_text("pip")
    files = [
        {"name": "bin", "size": 0, "perm": 0o20000000755},
        {"name": "bin/python3", "size": 10, "perm": 0, "symlink": "python3.14"},
        {"name": "bin/python3.14", "size": 10, "perm": 0o755, "compressed": True},
        {"name": "bin/pip", "size": 3, "perm": 0o644},
    ]
    (source / "files.json").write_text(json.dumps({"contentHash": "x", "files": files}))
    unpack(source, target)
    interpreter = target / "bin" / "python3"
    assert interpreter.resolve().name == "python3.14"
    assert interpreter.read_bytes() == b"#!/bin/sh\n"
    assert interpreter.stat().st_mode & 0o777 == 0o755
    assert (target / "bin" / "pip").stat().st_mode & 0o777 == 0o644


def test_registry_that_is_away_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOPROXY", "off")
    with pytest.raises(StackError, match=f"Python {VERSION} cannot be fetched: ") as refused:
        newest_python(tmp_path)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / f"python-{VERSION}").exists()


def test_machine_without_a_build_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(StackError, match=f"there is no Python {VERSION} for"):
        newest_python(tmp_path)
