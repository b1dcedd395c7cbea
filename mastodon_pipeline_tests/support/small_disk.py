"""Small disks, to be filled: tmpfs, which only root may mount."""

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path


class NoSmallDisk(Exception):
    """Small disks cannot be mounted here."""


@contextlib.contextmanager
def small_disk(directory: Path, megabytes: int) -> Iterator[Path]:
    """Mount a small disk at a directory, which is created; raises NoSmallDisk where it may not."""
    directory.mkdir(parents=True, exist_ok=True)
    options = ("-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(directory))
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, *options], capture_output=True).returncode:
        raise NoSmallDisk("only root may mount a small disk")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", str(directory)], check=True)


def fill(file: Path) -> None:
    """Append to a file until no byte is free on its disk."""
    with contextlib.suppress(OSError), file.open("ab", buffering=0) as output:
        while output.write(bytes(4096)):
            pass
