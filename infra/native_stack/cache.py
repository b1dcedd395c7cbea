"""The per-user cache of everything downloaded or built, shared by all checkouts."""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.native_stack.errors import StackError
from infra.native_stack.interruption import Check

_RECORD = ".complete.json"


def cache_directory() -> Path:
    """Return `MASTODON_PIPELINE_CACHE`, else `mastodon-pipeline` in `~/.cache` (or XDG)."""
    if configured := os.environ.get("MASTODON_PIPELINE_CACHE"):
        return Path(configured).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "mastodon-pipeline"


def versioned_name(name: str, pins: bytes) -> str:
    """Return a directory name that changes with the pinned versions: `kafka-3f2a91c04d7e`."""
    return f"{name}-{hashlib.sha256(pins).hexdigest()[:12]}"


def is_complete(directory: Path) -> bool:
    """Return whether the directory has as many files and bytes as when it was stored."""
    try:
        recorded = json.loads((directory / _RECORD).read_text())
    except (OSError, ValueError):
        return False
    return bool(recorded == _contents(directory))


def store(directory: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` fill a partial directory, and rename it to `directory` once it is complete.

    An interrupted process therefore leaves no directory of that name. Raises StackError if `fill`
    wrote nothing, and whatever `fill` raises.
    """
    partial = directory.with_name(f"{directory.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    contents = _contents(partial)
    if not contents["files"]:
        raise StackError(f"nothing arrived in {partial}; run it again")
    (partial / _RECORD).write_text(json.dumps(contents))
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)


@contextmanager
def locked(path: Path, waiting: Callable[[], None], check: Check) -> Iterator[None]:
    """Hold an exclusive lock on a file; call `waiting` once if another process holds it.

    Raises KeyboardInterrupt if `check` does so during the wait.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        announced = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not announced:
                    waiting()
                announced = True
                check()
                time.sleep(0.2)
        yield


def require_space(directory: Path, required_bytes: int) -> None:
    """Raise StackError if the disk of `directory` has less than `required_bytes` free."""
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < required_bytes:
        raise StackError(
            f"{existing} has {free / 1e9:.1f} GB free, and {required_bytes / 1e9:.1f} GB are "
            "needed: free some space, or set MASTODON_PIPELINE_CACHE to a directory on another disk"
        )


def _contents(directory: Path) -> dict[str, int]:
    sizes = [
        path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and path.name != _RECORD
    ]
    return {"files": len(sizes), "bytes": sum(sizes)}
