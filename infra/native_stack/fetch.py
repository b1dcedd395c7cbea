"""Fetching all that the stack is made of, with the slow build beside the downloads."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from infra.native_stack.cache import complete, locked, require_space
from infra.native_stack.interruption import Check
from infra.native_stack.maven import fetch_jars, jars_directory
from infra.native_stack.minio import build_log, build_minio, find_minio, minio_directory
from infra.native_stack.progress import Progress, megabytes

INFRA = Path(__file__).resolve().parent.parent
POMS = tuple(INFRA / name / "pom.xml" for name in ("kafka", "connect", "registry"))
NEEDED_BYTES = 2_500_000_000
"""Free disk space that fetching everything asks for; most of it is MinIO's build, dropped again."""


@dataclass(frozen=True, slots=True)
class Artifacts:
    """Where the programs are, all in the per-user cache."""

    kafka: Path
    """The jars of the broker and of Kafka Connect."""
    plugins: Path
    """Kafka Connect's plugin path."""
    registry: Path
    """The registry, unpacked."""
    minio: Path
    """MinIO's program."""


def fetch(
    cache: Path,
    say: Callable[[str], None],
    check: Check,
    needed_bytes: int = NEEDED_BYTES,
) -> Artifacts:
    """Brings everything that is not in the cache yet; quick where it is all there.

    Where `check` raises KeyboardInterrupt, the downloads and the build are stopped; the next call
    continues where they stopped.
    Raises StackError, one line, where something cannot be fetched or built.
    """
    if found := _cached(cache):
        return found
    with locked(
        cache / "lock", lambda: say("waiting for another download into the same cache"), check
    ):
        if found := _cached(cache):  # the other process brought it meanwhile
            return found
        require_space(cache, needed_bytes)
        say(f"fetching what the stack is made of into {cache} (once for this user)")
        return _fetch_all(cache, say, check)


def _cached(cache: Path) -> Artifacts | None:
    minio = find_minio(cache)
    kafka, connect, registry = (jars_directory(cache, pom) for pom in POMS)
    if minio is None or not all(complete(one) for one in (kafka, connect, registry)):
        return None
    return Artifacts(kafka / "jars", connect, registry / "jars", minio)


def _fetch_all(cache: Path, say: Callable[[str], None], check: Check) -> Artifacts:
    stop = threading.Event()
    began = time.monotonic()
    progress = Progress(say)

    def jars() -> None:
        for pom in POMS:
            directory = jars_directory(cache, pom)
            if not complete(directory):
                name = pom.parent.name
                progress.begins(name, lambda: megabytes(cache / "maven-repository"))
                fetch_jars(cache, pom, stop)
                progress.ends(name, megabytes(directory))

    def minio() -> None:
        if find_minio(cache) is None:
            progress.begins("MinIO's build", lambda: _compiled(build_log(cache)))
            build_minio(cache, stop)
            progress.ends("MinIO's build", megabytes(minio_directory(cache)))

    with ThreadPoolExecutor(2) as pool:
        tasks: list[Future[None]] = [pool.submit(minio), pool.submit(jars)]
        try:
            while wait(tasks, timeout=1, return_when=FIRST_EXCEPTION).not_done:
                if any(task.done() and task.exception() for task in tasks):
                    break
                progress.shows()
                check()
        finally:
            # On a failure or Ctrl-C: the pool's end waits until both tools are gone.
            stop.set()
    progress.clears()
    for task in sorted(tasks, key=lambda task: not _failed_itself(task)):
        task.result()
    say(f"everything fetched after {time.monotonic() - began:.0f} s")
    found = _cached(cache)
    assert found is not None
    return found


def _failed_itself(task: Future[None]) -> bool:
    """Whether a task failed by itself, rather than being stopped because the other one did."""
    return isinstance(task.exception(), Exception)


def _compiled(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return "starting"
    packages = sum(not line.startswith("go: ") for line in lines)
    return f"{packages} packages compiled" if packages else "downloading its source"
