"""Local copies of the files that this process has just put into the lake.

An hour's counts are built right after its toots, and the next hour reads these, too. Without copies
each of them would fetch again what was here a moment ago: two thirds of the requests of a run that
builds many hours.

A copy stands for one version of a file. Whoever wants to read a file lists it first; if another
process has replaced it since, its version is another, and it is read from the lake.
"""

import atexit
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from mastodon_pipeline.lake.files import StoredFile

MOST_BYTES = 64_000_000
"""Of all copies: a quarter of a million toots. What comes then is read from the lake."""


class _Written(NamedTuple):
    file: StoredFile
    local: Path


class WrittenFiles:
    """The copies of a process; it makes none unless they are `in_use`."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._copies: dict[str, _Written] = {}
        self._run: str | None = None
        self._in_use = False

    @contextmanager
    def in_use(self, run: str | None = None) -> Iterator[None]:
        """Make and read copies within the body.

        Those of a run stay for its next step, and go when another one begins; without `run` they go
        at the end: nobody's toots stay on the disk of a process that lives long.
        """
        if run is None or run != self._run:
            self._clear()
        self._run, self._in_use = run, True
        try:
            yield
        finally:
            self._in_use = False
            if run is None:
                self._clear()

    def keep(self, path: str, etag: str, local: Path) -> None:
        """Take a local file that was put at `path`, where it is the version `etag`."""
        self._remove(path)
        file = StoredFile(path, etag, datetime.now(UTC), local.stat().st_size)
        left = self._most_bytes - sum(copy.file.size for copy in self._copies.values())
        if not self._in_use or file.size > left:
            return
        # A new name each time: DuckDB may cache what a file of the same name held.
        copy = _directory() / f"{uuid4().hex}{local.suffix}"
        local.replace(copy)
        self._copies[path] = _Written(file, copy)

    def read(self, file: StoredFile) -> str:
        """Return the path by which to read this version of a file."""
        copy = self._copies.get(file.path) if self._in_use else None
        return str(copy.local) if copy and copy.file.etag == file.etag else file.path

    def versions(self, path: str) -> Sequence[StoredFile]:
        """Return the version that this process put at `path`, if it has a copy of it."""
        copy = self._copies.get(path) if self._in_use else None
        return [copy.file] if copy else []

    def last(self, path: str) -> str:
        """Return the path by which to read what this process put there, or what is there now."""
        copy = self._copies.get(path) if self._in_use else None
        return str(copy.local) if copy else path

    def _clear(self) -> None:
        for path in [*self._copies]:
            self._remove(path)

    def _remove(self, path: str) -> None:
        if (copy := self._copies.pop(path, None)) is not None:
            copy.local.unlink(missing_ok=True)


@cache
def _directory() -> Path:
    """Create the directory of this process's copies, readable by its owner alone."""
    directory = tempfile.mkdtemp(prefix="mastodon_pipeline_written_")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return Path(directory)


WRITTEN = WrittenFiles()
"""Those of this process: each step of a run opens the lake again."""
