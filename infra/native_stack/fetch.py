"""Fetch everything that the stack consists of, with the slow build beside the downloads."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from infra.native_stack.cache import is_complete, locked, require_space
from infra.native_stack.interruption import Check
from infra.native_stack.maven import fetch_jars, jars_directory
from infra.native_stack.minio import (
    BuildProgress,
    build_log,
    build_minio,
    find_minio,
    minio_directory,
)
from infra.native_stack.progress import Progress, megabytes

INFRA = Path(__file__).resolve().parent.parent
POMS = tuple(INFRA / name / "pom.xml" for name in ("kafka", "connect", "registry"))
REQUIRED_BYTES = 2_500_000_000
"""Free disk space required to fetch everything; most of it is MinIO's build, deleted afterwards."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """The paths of the programs, all in the per-user cache."""

    kafka: Path
    """The directory with the jars of the broker and of Kafka Connect."""
    plugins: Path
    """Kafka Connect's plugin path."""
    registry: Path
    """The registry, unpacked."""
    minio: Path
    """MinIO's executable."""


def fetch(
    cache: Path,
    say: Callable[[str], None],
    check: Check,
    required_bytes: int = REQUIRED_BYTES,
) -> Artifacts:
    """Fetch everything that is not in the cache yet.

    If `check` raises KeyboardInterrupt, the downloads and the build are stopped, and the next call
    continues them. Raises StackError if something cannot be fetched or built.
    """
    if artifacts := find_artifacts(cache):
        return artifacts
    with locked(
        cache / "lock", lambda: say("waiting for another download into the same cache"), check
    ):
        if artifacts := find_artifacts(cache):  # another process fetched it meanwhile
            return artifacts
        require_space(cache, required_bytes)
        say(f"fetching the stack's programs into {cache} (once per user)")
        return _fetch_all(cache, say, check)


def find_artifacts(cache: Path) -> Artifacts | None:
    """Return what is in the cache, or None if not everything is there."""
    minio = find_minio(cache)
    kafka, connect, registry = (jars_directory(cache, pom) for pom in POMS)
    if minio is None or not all(map(is_complete, (kafka, connect, registry))):
        return None
    return Artifacts(kafka / "jars", connect, registry / "jars", minio)


def _fetch_all(cache: Path, say: Callable[[str], None], check: Check) -> Artifacts:
    stop = threading.Event()
    began = time.monotonic()
    progress = Progress(say)

    def jars() -> None:
        for pom in POMS:
            directory = jars_directory(cache, pom)
            if not is_complete(directory):
                name = pom.parent.name
                progress.begin(name, lambda: megabytes(cache / "maven-repository"))
                fetch_jars(cache, pom, stop)
                progress.end(name, megabytes(directory))

    def minio() -> None:
        if find_minio(cache) is None:
            # That of an earlier build, which was interrupted, counts other packages.
            build_log(cache).unlink(missing_ok=True)
            progress.begin("MinIO's build", BuildProgress(build_log(cache)))
            build_minio(cache, stop)
            progress.end("MinIO's build", megabytes(minio_directory(cache)))

    with ThreadPoolExecutor(2) as pool:
        tasks: list[Future[None]] = [pool.submit(minio), pool.submit(jars)]
        try:
            while wait(tasks, timeout=1, return_when=FIRST_EXCEPTION).not_done:
                if any(task.done() and task.exception() for task in tasks):
                    break
                progress.show()
                check()
        finally:
            # After a failure or Ctrl-C, leaving the pool waits until both tools have ended.
            stop.set()
    progress.clear()
    for task in sorted(tasks, key=lambda task: not _failed(task)):
        task.result()
    say(f"everything fetched after {time.monotonic() - began:.0f} s")
    artifacts = find_artifacts(cache)
    assert artifacts is not None
    return artifacts


def _failed(task: Future[None]) -> bool:
    """Return whether a task failed itself, and was not stopped because the other one failed."""
    return isinstance(task.exception(), Exception)
