"""One supervised program: how to start it, and how to see that it is ready."""

import hashlib
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Program:
    """A process that the stack starts, watches, restarts when it dies, and stops."""

    name: str
    command: tuple[str, ...]
    """The program and its arguments. Secrets never stand here: `ps` shows it to everybody."""
    ready: Callable[[], bool]
    """Whether it answers now. It may be called often, must not block for long, and raises
    nothing."""
    directory: Path
    """Where it runs."""
    first: tuple[Path, tuple[str, ...]] | None = None
    """A command that runs before it wherever the path it makes is not there yet."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Its environment variables besides the few that every program gets. Secrets belong here."""
    reads: tuple[Path, ...] = ()
    """Files that it reads at its start: the next `up` restarts it when they have changed."""
    address: str = ""
    """Where people reach it, for the status table."""
    ports: tuple[int, ...] = ()
    """The ports it will listen on, checked before it is started."""
    after: tuple[str, ...] = ()
    """Programs that must be ready before this one is started; it is stopped before them."""
    prepare: Callable[[], None] = lambda: None
    """What is done once, whenever the stack has seen it ready: its topics. Repeatable."""
    start_seconds: float = 90.0
    """How long it may take to be ready."""
    stop_seconds: int = 20
    """How long it may take to stop before it is killed."""

    def script(self) -> str:
        """The program as a shell script, which a person may run by hand."""
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in sorted(self.environment.items())
            if name.isidentifier()
        )
        digest = hashlib.sha256(b"".join(path.read_bytes() for path in self.reads)).hexdigest()
        read = (
            f"# reads {shlex.join(map(str, self.reads))}, sha256 {digest}\n" if self.reads else ""
        )
        first = ""
        if self.first is not None:
            made, command = self.first
            first = f"[ -e {shlex.quote(str(made))} ] || {shlex.join(command)} || exit 1\n"
        return (
            f"#!/bin/sh\ncd {shlex.quote(str(self.directory))} || exit 1\n{read}{exports}{first}"
            f"exec {shlex.join(self.command)}\n"
        )
