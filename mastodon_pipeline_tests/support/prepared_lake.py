"""A lake in a local directory that is filled once, for many tests that begin with the same."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import local_lake


class PreparedLake:
    """Each test opens a copy of it, and may change that.

    The copies take turns at one path, since the fingerprints of tables contain their files' paths.
    """

    def __init__(self, directory: Path, fill: Callable[[Lake], object], salt: str = "") -> None:
        """Fill the lake, in a directory that has nothing else."""
        self._root, self._filled = directory / "lake", directory / "filled"
        self._salt = salt
        with local_lake(self._root, salt=salt) as lake:
            fill(lake)
        self._root.rename(self._filled)

    @contextmanager
    def copy(self) -> Iterator[Lake]:
        """Open a copy, which is deleted afterwards; files have the times of the originals."""
        shutil.copytree(self._filled, self._root)
        try:
            with local_lake(self._root, salt=self._salt) as lake:
                yield lake
        finally:
            shutil.rmtree(self._root)
