"""The per-user cache of everything downloaded or built; a new checkout finds it all there."""

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
    """`MASTODON_PIPELINE_CACHE`, or `mastodon-pipeline` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if named := os.environ.get("MASTODON_PIPELINE_CACHE"):
        return Path(named).resolve()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base).resolve() / "mastodon-pipeline"


def keyed(name: str, *pinned: bytes) -> str:
    """A directory's name that changes with what is pinned: `kafka-3f2a91c04d7e`."""
    return f"{name}-{hashlib.sha256(b''.join(pinned)).hexdigest()[:12]}"


def complete(directory: Path) -> bool:
    """Whether the directory is there with all the files and bytes it was stored with."""
    try:
        recorded = json.loads((directory / _RECORD).read_text())
    except (OSError, ValueError):
        return False
    return bool(recorded == _contents(directory))


def store(directory: Path, fill: Callable[[Path], None]) -> None:
    """Fills a directory beside its place and renames it into place once it is whole.

    A process that is stopped meanwhile leaves no directory of that name, so what is there is
    whole. Raises StackError where `fill` put nothing there, and whatever `fill` raises.
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
    """Holds an exclusive lock on a file; calls `waiting` once where another process has it.

    Raises KeyboardInterrupt where `check` does while it waits.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting()
                told = True
                check()
                time.sleep(0.2)
        yield


def require_space(directory: Path, wanted: int) -> None:
    """Raises StackError where fewer than `wanted` bytes are free around `directory`."""
    place = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < wanted:
        raise StackError(
            f"{place} has {free / 1e9:.1f} GB free, and {wanted / 1e9:.1f} GB are needed: "
            "make room, or set MASTODON_PIPELINE_CACHE to a directory on a larger disk"
        )


def _contents(directory: Path) -> dict[str, int]:
    sizes = [
        path.stat().st_size
        for path in directory.rglob("*")
        if path.is_file() and path.name != _RECORD
    ]
    return {"files": len(sizes), "bytes": sum(sizes)}
