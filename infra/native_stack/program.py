"""A supervised program: how to start it, and how to tell that it is ready."""

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
    """The program and its arguments. No secrets here: `ps` shows it to every user."""
    ready: Callable[[], bool]
    """A quick probe of whether it answers now; called often, raises nothing."""
    directory: Path
    """Its working directory."""
    broken: Callable[[], bool] | None = None
    """A quick probe of whether it answers in a way that only another start ends; raises nothing."""
    once_ready: Callable[[], None] | None = None
    """Called at each `up` when it is ready, before the programs that depend on it are started; in a
    container at each start. Raises StackError."""
    initialize: tuple[Path, tuple[str, ...]] | None = None
    """A path, and the command that creates it: run before each start while the path is missing."""
    await_first: tuple[str, ...] = ()
    """A command that returns once what the program needs is there: run before each start, also by
    the process manager. Where it fails, the start fails."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Environment variables beside the few that every program gets. Secrets belong here."""
    config_files: tuple[Path, ...] = ()
    """Files that it reads when it starts: if they have changed, the next `up` restarts it."""
    address: str = ""
    """Its address, for the status table."""
    ports: tuple[int, ...] = ()
    """The ports it listens on; checked to be free before it is started."""
    depends_on: tuple[str, ...] = ()
    """Programs that must be ready before this one starts, and are stopped after it."""
    start_seconds: float = 600.0
    """How long it may take to become ready."""
    stop_seconds: int = 20
    """How long it may take to stop before it is killed."""

    def script(self) -> str:
        """Return a shell script that runs the program; it can be run by hand, too."""
        exports = "".join(
            f"export {name}={shlex.quote(value)}\n"
            for name, value in sorted(self.environment.items())
            if name.isidentifier()
        )
        digest = hashlib.sha256(
            b"".join(path.read_bytes() for path in self.config_files)
        ).hexdigest()
        files = shlex.join(map(str, self.config_files))
        config = f"# reads {files}, sha256 {digest}\n" if files else ""
        initialize = ""
        if self.initialize is not None:
            path, command = self.initialize
            initialize = f"[ -e {shlex.quote(str(path))} ] || {shlex.join(command)} || exit 1\n"
        await_first = f"{shlex.join(self.await_first)} || exit 1\n" if self.await_first else ""
        return (
            f"#!/bin/sh\ncd {shlex.quote(str(self.directory))} || exit 1\n{config}{exports}"
            f"{initialize}{await_first}exec {shlex.join(self.command)}\n"
        )
