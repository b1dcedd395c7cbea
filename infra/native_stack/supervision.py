"""supervisord (the `supervisor` package) as the keeper of the stack's processes.

It runs in a session of its own, is reached over a Unix socket that only its owner may open, and
restarts what dies. One script a program, readable by its owner alone, carries the program's
environment, so that no secret stands in supervisord's configuration or on a command line.
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

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped]

from infra.native_stack.addresses import write_secretly
from infra.native_stack.errors import StackError
from infra.native_stack.processes import MARKER, end_processes
from infra.native_stack.program import Program

# What every program gets of the caller's environment; the rest comes with the program.
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR")
# A Unix socket's path fits in 108 bytes.
_LONGEST_SOCKET = 100


@dataclass(frozen=True, slots=True)
class Process:
    """What supervisord says of a program."""

    name: str
    state: str
    """STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED or FATAL."""
    pid: int
    """0 where it does not run."""
    problem: str
    """Why it could not be started, or ''."""
    address: str


class Supervisor:
    """The supervisord of one data directory, running or not."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.directory = data / "supervisor"
        self.logs = data / "logs"
        self.log = self.logs / "supervisord.log"
        self.socket = _socket_path(self.directory)
        self._process: subprocess.Popen[bytes] | None = None

    def log_of(self, name: str) -> Path:
        """A program's log: its standard output and error, rotated."""
        return self.logs / f"{name}.log"

    def running(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._call("getState"))
        except (OSError, Fault):
            return False

    def start(self) -> None:
        """Starts it with no programs and waits until it answers.

        Raises StackError where it does not within 15 s.
        """
        programs = self.directory / "programs"
        for directory in (self.directory, programs, self.logs):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for left in [*programs.iterdir(), self.directory / "order.json"]:
            left.unlink(missing_ok=True)
        place = self.socket.parent
        place.mkdir(mode=0o700, exist_ok=True)
        if place.stat().st_uid != os.getuid():
            raise StackError(f"{place} is somebody else's: set TMPDIR to a directory of yours")
        self.socket.unlink(missing_ok=True)
        configuration = self.directory / "supervisord.conf"
        write_secretly(configuration, self._configuration())
        environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        environment[MARKER] = str(self.data)
        with (self.logs / "supervisord.out").open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)],
                env=environment,
                cwd=self.data,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 15
        while not self.running():
            if self._process.poll() is not None or time.monotonic() > deadline:
                said = (self.logs / "supervisord.out").read_text(errors="replace").strip()
                last = said.splitlines()[-1] if said else "it said nothing"
                raise StackError(f"the process manager did not start: {last} (see {self.log})")
            time.sleep(0.05)

    def knows(self, programs: Iterable[Program]) -> set[str]:
        """Writes the programs' scripts, and takes them into supervisord, none started yet.

        A program that changed since is stopped and replaced. Returns the names of those that
        were there already, unchanged.
        """
        known = {process.name for process in self.processes()}
        # Not the order that supervisord keeps (by name): what is started last is stopped first.
        order = self._order() | {program.name: program.address for program in programs}
        write_secretly(self.directory / "order.json", json.dumps(order))
        unchanged = set()
        for program in programs:
            if not self._write(program) and program.name in known:
                unchanged.add(program.name)
        (_added, changed, _removed), *_ = self._call("reloadConfig")
        for name in changed:
            self.stop(name)
            self._call("removeProcessGroup", name)
        for program in programs:
            if program.name not in unchanged:
                with contextlib.suppress(Fault):  # ALREADY_ADDED: only its script changed
                    self._call("addProcessGroup", program.name)
        return unchanged

    def forgets(self, name: str) -> None:
        """Stops a program and takes it out."""
        self.stop(name)
        with contextlib.suppress(Fault):
            self._call("removeProcessGroup", name)
        for path in (self.directory / "programs").glob(f"{name}.*"):
            path.unlink()

    def begin(self, name: str) -> None:
        """Starts a program and does not wait."""
        try:
            self._call("startProcess", name, False)
        except Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise StackError(f"{name} cannot be started: {fault.faultString}") from None

    def stop(self, name: str) -> None:
        """Stops a program and waits until it is gone, killed if it takes too long."""
        with contextlib.suppress(Fault, OSError):  # NOT_RUNNING, or supervisord does not run
            self._call("stopProcess", name, True)

    def processes(self) -> list[Process]:
        """All programs, in the order they are started in; empty where supervisord does not run."""
        try:
            answer = self._call("getAllProcessInfo")
        except (OSError, Fault):
            return []
        order = self._order()
        found = [
            Process(
                name=one["name"],
                state=one["statename"],
                pid=one["pid"],
                problem=one["spawnerr"],
                address=order.get(one["name"], ""),
            )
            for one in answer
        ]
        return sorted(found, key=lambda process: [*order, process.name].index(process.name))

    def shutdown(self) -> None:
        """Stops supervisord and whatever still runs under it."""
        try:
            self._call("shutdown")
        except (OSError, Fault):
            if self._process is not None:  # interrupted before it could listen
                self._process.terminate()
        deadline = time.monotonic() + 90
        while self.running() and time.monotonic() < deadline:
            time.sleep(0.1)
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=10)
        end_processes(self.data, patience=10)
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.directory:
            with contextlib.suppress(OSError):  # another stack's socket is there too
                self.socket.parent.rmdir()

    def _call(self, method: str, *arguments: str | bool) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self.socket}")
        with ServerProxy("http://127.0.0.1", transport=transport) as server:
            return getattr(server.supervisor, method)(*arguments)

    def _order(self) -> dict[str, str]:
        """The programs' addresses by their names, in starting order."""
        try:
            return dict(json.loads((self.directory / "order.json").read_text()))
        except FileNotFoundError:
            return {}

    def _write(self, program: Program) -> bool:
        """Whether the program is new or has changed."""
        programs = self.directory / "programs"
        script = programs / f"{program.name}.sh"
        text = program.script()
        changed = not script.exists() or script.read_text() != text
        write_secretly(script, text, mode=0o700)
        section = configparser.ConfigParser(interpolation=None)
        section[f"program:{program.name}"] = {
            "command": _quoted("/bin/sh", str(script)),
            # supervisord sees by this that the script has changed.
            "environment": f'SCRIPT_SHA256="{hashlib.sha256(text.encode()).hexdigest()}"',
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            # With a pause that grows by a second each time: about 3.5 minutes, then FATAL.
            "startretries": "20",
            "stopwaitsecs": str(program.stop_seconds),
            "stopasgroup": "true",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": _escaped(str(self.log_of(program.name))),
            "stdout_logfile_maxbytes": "20MB",
            "stdout_logfile_backups": "3",
        }
        with (programs / f"{program.name}.conf").open("w") as file:
            section.write(file)
        return changed

    def _configuration(self) -> str:
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
files={_escaped(str(self.directory / "programs"))}/*.conf
"""


def _socket_path(directory: Path) -> Path:
    path = directory / "supervisor.sock"
    if len(os.fsencode(path)) <= _LONGEST_SOCKET:
        return path
    short = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    place = Path(tempfile.gettempdir()) / f"mastodon-pipeline-{os.getuid()}"
    return place / f"{short}.sock"


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(*words: str) -> str:
    return _escaped(shlex.join(words))
