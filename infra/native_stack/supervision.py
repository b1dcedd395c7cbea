"""supervisord (the `supervisor` package) as the process manager of the stack.

It runs in a separate session, is controlled over a Unix socket that only its owner may open, and
restarts programs that die. Each program is started by a script, readable by its owner only, that
sets its environment: so no secret is in supervisord's configuration or on a command line.
"""

import configparser
import contextlib
import hashlib
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport  # type: ignore[import-untyped]

from infra.native_stack.addresses import write_private
from infra.native_stack.errors import StackError
from infra.native_stack.processes import MARKER, end_processes
from infra.native_stack.program import Program

# Environment variables that every program inherits from the caller; the rest is the program's.
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "TZ", "TMPDIR"),
    "MASTODON_PIPELINE_SETTINGS",
)
# The path of a Unix socket is at most 108 bytes long.
_MAX_SOCKET_PATH_BYTES = 100
LAUNCH_SECONDS = 120.0
"""How long supervisord may take to answer: less than one, but on a very busy machine."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program's state as supervisord reports it."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""
    pid: int
    """0 if it does not run."""
    problem: str
    """Why it could not be started, or ''."""
    address: str


class Supervisor:
    """The supervisord of a data directory, running or not."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.directory = data / "supervisor"
        self.logs = data / "logs"
        self.log = self.logs / "supervisord.log"
        self.socket = _socket_path(self.directory)
        self._process: subprocess.Popen[bytes] | None = None

    def log_of(self, name: str) -> Path:
        """Return the path of a program's log: its standard output and error, rotated."""
        return self.logs / f"{name}.log"

    def running(self) -> bool:
        """Return whether supervisord answers."""
        try:
            return bool(self._call("getState"))
        except (OSError, Fault):
            return False

    def launch(self) -> None:
        """Launch supervisord without programs, and wait until it answers.

        Raises StackError if it does not within LAUNCH_SECONDS.
        """
        programs = self.directory / "programs"
        for directory in (self.directory, programs, self.logs):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in [*programs.iterdir(), self.directory / "order.json"]:
            stale.unlink(missing_ok=True)
        socket_directory = self.socket.parent
        socket_directory.mkdir(mode=0o700, exist_ok=True)
        if socket_directory.stat().st_uid != os.getuid():
            raise StackError(
                f"{socket_directory} belongs to another user: set TMPDIR to a directory of yours"
            )
        self.socket.unlink(missing_ok=True)
        configuration = self.directory / "supervisord.conf"
        write_private(configuration, self._configuration())
        with (self.logs / "supervisord.out").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "infra.native_stack.supervisord"),
                    *("-c", str(configuration)),
                ],
                env=base_environment(self.data),
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + LAUNCH_SECONDS
        while not self.running():
            if self._process.poll() is not None or time.monotonic() > deadline:
                output_text = (self.logs / "supervisord.out").read_text(errors="replace").strip()
                reason = output_text.splitlines()[-1] if output_text else "it printed nothing"
                raise StackError(f"the process manager did not start: {reason} (see {self.log})")
            time.sleep(0.05)

    def configure(self, programs: Iterable[Program]) -> set[str]:
        """Add the programs to supervisord without starting them; return the unchanged ones' names.

        A program that has changed since it was added is stopped and replaced.
        """
        configured = {process.name for process in self.processes()}
        # supervisord sorts by name; we need the start order, to stop in the reverse of it.
        order = self._order() | {program.name: program.address for program in programs}
        write_private(self.directory / "order.json", json.dumps(order))
        unchanged = set()
        for program in programs:
            if not self._write(program) and program.name in configured:
                unchanged.add(program.name)
        (_added, changed, _removed), *_ = self._call("reloadConfig")
        for name in changed:
            self.stop(name)
            self._call("removeProcessGroup", name)
        for program in programs:
            if program.name not in unchanged:
                with contextlib.suppress(Fault):  # ALREADY_ADDED: only its script has changed
                    self._call("addProcessGroup", program.name)
        return unchanged

    def remove(self, name: str) -> None:
        """Stop a program and remove it from supervisord."""
        self.stop(name)
        with contextlib.suppress(Fault):
            self._call("removeProcessGroup", name)
        for path in (self.directory / "programs").glob(f"{name}.*"):
            path.unlink()

    def start(self, name: str) -> None:
        """Start a program without waiting for it.

        One that could not be started, or has ended by now, is left to its state and `problem` in
        `processes`: supervisord says of only some of them, those that it is quick enough to see.
        """
        try:
            self._call("startProcess", name, False)
        except Fault as fault:
            if fault.faultCode not in (Faults.ALREADY_STARTED, Faults.SPAWN_ERROR):
                raise StackError(f"{name} cannot be started: {fault.faultString}") from None

    def stop(self, name: str) -> None:
        """Stop a program and wait until it has ended; it is killed if it takes too long."""
        with contextlib.suppress(Fault, OSError):  # NOT_RUNNING, or supervisord does not run
            self._call("stopProcess", name, True)

    def processes(self) -> list[Process]:
        """List all programs in start order; empty if supervisord does not run."""
        try:
            rows = self._call("getAllProcessInfo")
        except (OSError, Fault):
            return []
        order = self._order()
        processes = [
            Process(
                name=row["name"],
                state=row["statename"],
                pid=row["pid"],
                problem=row["spawnerr"],
                address=order.get(row["name"], ""),
            )
            for row in rows
        ]
        return sorted(processes, key=lambda process: [*order, process.name].index(process.name))

    def shutdown(self) -> None:
        """Stop supervisord and everything that still runs under it."""
        try:
            self._call("shutdown")
        except (OSError, Fault):
            if self._process is not None:  # interrupted before its socket was open
                self._process.terminate()
        deadline = time.monotonic() + 90
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.1)
        # It no longer answers, but may still wait for its programs to end.
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=90)
        end_processes(self.data, timeout_seconds=10)
        if self._process is not None:
            self._process.wait()
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            with contextlib.suppress(OSError):  # it also holds another stack's socket
                self.socket.parent.rmdir()

    def _call(self, method: str, *arguments: str | bool) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _order(self) -> dict[str, str]:
        """Return each program's address by its name, in start order."""
        try:
            return dict(json.loads((self.directory / "order.json").read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, program: Program) -> bool:
        """Write a program's script and configuration; return whether the script has changed."""
        programs = self.directory / "programs"
        script = programs / f"{program.name}.sh"
        text = program.script()
        changed = not script.exists() or script.read_text("utf-8") != text
        write_private(script, text, mode=0o700)
        section = configparser.ConfigParser(interpolation=None)
        section[f"program:{program.name}"] = {
            "command": _quoted("/bin/sh", str(script)),
            # A changed script changes the configuration, so supervisord notices it.
            "environment": f'SCRIPT_SHA256="{hashlib.sha256(text.encode()).hexdigest()}"',
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            # The pause grows by a second each time. Never FATAL: a full disk may last for days.
            "startretries": "1000000",
            "stopwaitsecs": str(program.stop_seconds),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": _escaped(str(self.log_of(program.name))),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "3",
        }
        with (programs / f"{program.name}.conf").open("w", encoding="utf-8") as file:
            section.write(file)
        return changed

    def _configuration(self) -> str:
        # It splits the names of included files at spaces; they are relative to this file.
        return f"""\
[unix_http_server]
file={_escaped(str(self.socket))}
chmod=0700

[supervisord]
nodaemon=true
silent=true
logfile={_escaped(str(self.log))}
logfile_maxbytes=5MB
logfile_backups=2
pidfile={_escaped(str(self.directory / "supervisord.pid"))}
umask=077

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[include]
files=programs/*.conf
"""


def base_environment(data: Path) -> dict[str, str]:
    """Return the environment that every program gets, beside what is its own."""
    return {
        **{name: os.environ[name] for name in _INHERITED if name in os.environ},
        MARKER: str(data),
        # So that Java reads the names of directories as UTF-8, whatever the caller's locale is.
        "LC_ALL": "C.UTF-8",
        # glibc gives each thread an arena of its own, up to eight a core, which are never returned.
        "MALLOC_ARENA_MAX": "2",
    }


def _socket_path(directory: Path) -> Path:
    path = directory / "supervisor.sock"
    if len(os.fsencode(path)) <= _MAX_SOCKET_PATH_BYTES:
        return path
    short = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"mastodon-pipeline-{os.getuid()}" / f"{short}.sock"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(*words: str) -> str:
    return _escaped(shlex.join(words))
