"""The newest Python that is supported, for `make test-newest`; prints where it is.

It comes from the registry that MinIO's source comes from, as a Go module that holds the standalone
builds of CPython for each platform: no package registry has one of its own for all of them.
"""

import gzip
import json
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import click
import msgspec

from infra.native_stack.cache import cache_directory, store
from infra.native_stack.errors import StackError
from infra.native_stack.minio import find_go

VERSION = "3.14.6"
MODULE = f"github.com/kluctl/go-embed-python@v0.0.0-{VERSION}-20260610-1"
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


class _File(msgspec.Struct):
    """A file of the module's `files.json`."""

    name: str
    perm: int
    compressed: bool = False
    symlink: str = ""


class _Files(msgspec.Struct):
    files: list[_File]


def newest_python(cache: Path) -> Path:
    """Return the interpreter; fetched the first time, 110 MB.

    Raises StackError if there is none for this machine, or if it cannot be fetched.
    """
    system, machine = _SYSTEMS.get(platform.system()), _MACHINES.get(platform.machine())
    if not (system and machine):
        raise StackError(f"there is no Python {VERSION} for {platform.platform()}")
    directory = cache / f"python-{VERSION}"
    interpreter = directory / "bin" / "python3"
    if not interpreter.exists():
        store(directory, lambda partial: _fetch(f"{system}-{machine}", partial))
    return interpreter


def _fetch(build: str, target: Path) -> None:
    with tempfile.TemporaryDirectory() as work:
        environment = {"GOPATH": work, "GOFLAGS": "-modcacherw", "GOTOOLCHAIN": "local"}
        result = subprocess.run(
            [str(find_go()), "mod", "download", "-json", MODULE],
            cwd=work,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        answer = json.loads(result.stdout or "{}")
        if result.returncode or "Dir" not in answer:
            reason = answer.get("Error") or result.stderr.strip() or "no answer"
            raise StackError(f"Python {VERSION} cannot be fetched: {reason}")
        unpack(Path(answer["Dir"], "python", "internal", "data", build), target)


def unpack(source: Path, target: Path) -> None:
    """Write the files of a build, as its `files.json` lists them."""
    listed = msgspec.json.decode((source / "files.json").read_bytes(), type=_Files)
    for file in listed.files:
        path = target / file.name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.symlink:
            path.symlink_to(file.symlink)
        elif file.compressed:
            with gzip.open(source / f"{file.name}.gz") as packed, path.open("wb") as unpacked:
                shutil.copyfileobj(packed, unpacked)
            path.chmod(file.perm & 0o777)
        elif (source / file.name).is_dir():
            path.mkdir(exist_ok=True)
        else:
            shutil.copyfile(source / file.name, path)
            path.chmod(file.perm & 0o777)


@click.command()
def main() -> None:
    """Print the path of the newest Python that is supported; fetch it the first time."""
    try:
        click.echo(newest_python(cache_directory()))
    except StackError as error:
        raise click.ClickException(str(error)) from None


if __name__ == "__main__":
    main()
