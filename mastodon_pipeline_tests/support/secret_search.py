"""Secrets of a stack, and where in its data directory they show."""

import base64
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from infra.native_stack.processes import marked_processes

_HOLDERS = ("stack.env", "rest-users.properties")
_MINIO_OWN = Path("minio", ".minio.sys")
"""MinIO keeps the keys that it knows, but its administrator's, in a file for each user below
`config/iam`, and moves the former file below `tmp` while it writes one."""
_USERS = ("pipeline", "me")


def stack_secrets(data: Path) -> dict[str, str]:
    """Return the generated secrets of the stack of this directory, by their variables' names."""
    lines = (line.partition("=") for line in (data / "stack.env").read_text().splitlines())
    return {
        name: value
        for name, _, value in lines
        if name.endswith(("_PASSWORD", "_SECRET_ACCESS_KEY"))
    }


def stored_contents(data: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file that is not meant to hold secrets.

    Those that are may be read by their owner alone; if not, they are yielded, too.
    """
    for path in data.rglob("*"):
        with suppress(OSError):  # Dagster, SQLite and Kafka delete files meanwhile.
            if path.is_file() and not _is_private_holder(path, data):
                yield path.relative_to(data).as_posix(), path.read_bytes()


def command_lines(data: Path) -> str:
    """Return the command lines of a stack's processes, which every user may see."""
    lines = []
    for process in marked_processes(data):
        with suppress(Exception):  # it has ended
            lines.append(" ".join(process.cmdline()))
    return "\n".join(lines)


def shown_in(content: bytes, secrets: Mapping[str, str]) -> set[str]:
    """Return the names of the secrets that a content shows."""
    return {name for name, value in secrets.items() if any(f in content for f in _forms(value))}


def _forms(secret: str) -> Iterator[bytes]:
    """Yield a secret as it is, and as HTTP's basic authentication sends it."""
    yield secret.encode()
    for user in _USERS:
        yield base64.b64encode(f"{user}:{secret}".encode())


def _is_private_holder(path: Path, data: Path) -> bool:
    if path.is_relative_to(data / _MINIO_OWN):
        return _is_private(data / _MINIO_OWN.parts[0])
    holds = path.name in _HOLDERS or path.parent.name == "programs"
    return holds and _is_private(path)


def _is_private(path: Path) -> bool:
    """Return whether only its owner can read it, or what is in it."""
    return path.stat().st_mode & 0o077 == 0
