"""The native stack: the pipeline's services, started in order, watched, and stopped cleanly."""

import contextlib
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from dotenv import dotenv_values

from infra.native_stack.addresses import (
    Addresses,
    is_stack_env,
    stack_variables,
    write_stack_env,
)
from infra.native_stack.cache import cache_directory, locked
from infra.native_stack.errors import StackError
from infra.native_stack.fetch import fetch
from infra.native_stack.interruption import Check, deferred_interrupts
from infra.native_stack.legal_paths import check_path
from infra.native_stack.pipeline_programs import (
    dagster_programs,
    dashboard_program,
    metrics_program,
)
from infra.native_stack.ports import Ports, in_use, port_owner
from infra.native_stack.processes import (
    end_processes,
    marked_processes,
    memory_bytes,
    stack_of,
)
from infra.native_stack.program import Program
from infra.native_stack.programs import Installation, probes, stack_programs
from infra.native_stack.simulated import SIMULATED_MARK
from infra.native_stack.starting import start_in_order
from infra.native_stack.supervision import (
    Process,
    Supervisor,
)
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.proxies import check_proxies

OWN_NAMES = (
    *("kafka", "minio", "registry", "connect", "dagster", "lake", "logs", "supervisor"),
    *("fediverse", "up.lock", "forgotten.txt", SIMULATED_MARK, ".stack.env.partial", "stack.env"),
)
"""What a stack makes in its data directory."""


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One line of `status`."""

    name: str
    state: str
    """`ready`, `not answering` if it runs but its probe fails, else supervisord's state."""
    pid: int
    memory_bytes: int
    """Resident memory of the program and all its children."""
    address: str
    log: Path


class Stack:
    """The native stack of a data directory.

    The directory holds everything that must survive: Kafka's log, MinIO's objects, the registry's
    schemas, the Iceberg catalog, Dagster's history, the credentials. `down` keeps it, `clean`
    deletes it.
    """

    def __init__(
        self,
        data: Path | None = None,
        ports: Ports | None = None,
        cache: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """Set up a stack; data directory, ports and cache default to the environment's.

        A running stack keeps the ports it was started with. Raises StackError for invalid ports.
        """
        self.data = data or data_directory()
        self.env_file = self.data / "stack.env"
        self.supervisor = Supervisor(self.data)
        if ports is None:
            environment = self._saved_variables() if self.supervisor.running() else os.environ
            ports = Ports.from_environment(environment)
        self.ports = ports
        self.addresses = Addresses.of(ports)
        self.cache = cache or cache_directory()
        self._say = say

    @property
    def environment(self) -> dict[str, str]:
        """What the pipeline needs to reach this stack: the data directory, and `stack.env` with the
        credentials. Empty before the first start."""
        saved = self._saved_variables()
        return {**saved, "MASTODON_PIPELINE_DATA": str(self.data)} if saved else {}

    def fetch(self) -> None:
        """Fetch everything that the stack consists of; see `fetch.fetch`."""
        self._check_environment()
        with deferred_interrupts() as check:
            fetch(self.cache, self._say, check)

    def up(
        self, with_dagster: bool = False, extra: Sequence[Program] = (), restart: bool = False
    ) -> None:
        """Start what is not running yet, in order, and return when everything is ready.

        A program that runs already is left alone, unless its configuration or environment has
        changed, or `restart` is set: then it is restarted. `extra` programs start once those that
        they depend on are ready; Dagster starts last.

        If the start fails or is interrupted, what it started is stopped again.

        Raises:
            StackError: a program cannot be fetched or started.
            KeyboardInterrupt: on Ctrl-C, SIGTERM or SIGHUP.
        """
        self._check_environment()
        with deferred_interrupts() as check:
            self._up(with_dagster, extra, restart, check)

    def _up(
        self, with_dagster: bool, extra: Sequence[Program], restart: bool, check: Check
    ) -> None:
        artifacts = fetch(self.cache, self._say, check)
        self._prepare_data()
        waiting = "waiting for another `up` of the same stack"
        with locked(self.data / "up.lock", lambda: self._say(waiting), check):
            variables = stack_variables(self.addresses, self.ports, self._saved_variables())
            write_stack_env(self.env_file, variables)
            stack = Installation(
                data=self.data,
                ports=self.ports,
                addresses=self.addresses,
                artifacts=artifacts,
                variables=variables,
            )
            programs = [*self._services(stack), *extra]
            if with_dagster:
                names = tuple(program.name for program in programs)
                programs += dagster_programs(stack, self.environment, depends_on=names)
                programs.append(dashboard_program(stack, self.environment))
                if self.ports.metrics_port:
                    programs.append(metrics_program(stack, self.environment))
            self._start(programs, restart, check)

    def _services(self, stack: Installation) -> list[Program]:
        """Return the programs of the services; a cluster has several of one service."""
        return stack_programs(stack)

    def down(self) -> None:
        """Stop everything in reverse start order; the data stays.

        Also ends processes that a killed process manager left behind.
        """
        if not self.supervisor.running() and not marked_processes(self.data):
            self._say("the stack is not running")
            return
        began = time.monotonic()
        names = [process.name for process in self.supervisor.processes()]
        with _ignoring_sigint():
            for name in reversed(names):
                self.supervisor.stop(name)
                self._say(f"  {name} stopped")
            self.supervisor.shutdown()
        self._say(f"the stack is down after {time.monotonic() - began:.0f} s; its data stays")

    def status(self) -> list[ProgramStatus]:
        """Return the status of every program; empty if the stack is not running."""
        return [self._status_of(process) for process in self.supervisor.processes()]

    def count_orphans(self) -> int:
        """Count the processes of this stack that run although its process manager is gone."""
        return 0 if self.supervisor.running() else len(marked_processes(self.data))

    def memory_bytes(self) -> int:
        """Return the resident memory of all the stack's processes, process manager included."""
        return sum(memory_bytes(process) for process in marked_processes(self.data))

    def clean(self) -> None:
        """Stop the stack and delete its data directory.

        Raises StackError for a directory that was not made by a native stack.
        """
        if not self.data.exists():
            self._say(f"there is nothing in {self.data}")
            return
        if not is_stack_env(self.env_file):
            raise StackError(
                f"{self.data} holds no stack.env of a native stack, so it is not deleted: "
                "remove it yourself if you want to"
            )
        self.down()
        others = self.remove_data()
        self._say(f"deleted {self.data}: toots, tables, schemas, Dagster's history, credentials")
        if others:
            self._say(f"what the stack did not make there stays: {', '.join(others)}")

    def remove_data(self) -> list[str]:
        """Delete what the stack made in its data directory; return the names of what else is there.

        `stack.env` goes last, so that an interrupted `clean` can be repeated.
        """
        for name in OWN_NAMES:
            path = self.data / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        others = sorted(path.name for path in self.data.iterdir())
        if not others:
            self.data.rmdir()
        return others

    def _check_environment(self) -> None:
        check_proxies()
        check_path(self.cache, "MASTODON_PIPELINE_CACHE")
        check_path(self.data, "MASTODON_PIPELINE_DATA")

    def _start(self, programs: list[Program], restart: bool, check: Check) -> None:
        began = time.monotonic()
        launch = not self.supervisor.running()
        before = {process.name for process in self.supervisor.processes()}
        if launch:
            if count := end_processes(self.data, timeout_seconds=10):
                self._say(f"ended {count} processes that a killed process manager left behind")
            self._require_free_ports(programs)
        try:
            if launch:
                self.supervisor.launch()
            unchanged = self.supervisor.configure(programs)
            states = {process.name: process.state for process in self.supervisor.processes()}
            if restart:
                unchanged.clear()
            to_start = [
                program
                for program in programs
                if program.name not in unchanged or states[program.name] != "RUNNING"
            ]
            for program in reversed(to_start):
                self.supervisor.stop(program.name)
            self._require_free_ports(to_start)
            names = {program.name for program in to_start}
            start_in_order(self.supervisor, programs, names, self._say, check)
        except BaseException:
            self._say("stopping what was started")
            with _ignoring_sigint():
                if launch:
                    for program in reversed(programs):
                        self.supervisor.stop(program.name)
                    self.supervisor.shutdown()
                else:
                    for program in reversed(programs):
                        if program.name not in before:
                            self.supervisor.remove(program.name)
            raise
        if to_start:
            self._say(f"all ready after {time.monotonic() - began:.1f} s")
        else:
            self._say("the stack is already running")

    def _require_free_ports(self, programs: Sequence[Program]) -> None:
        for program in programs:
            for port in program.ports:
                if in_use(port):
                    raise StackError(self._port_conflict(program, port))

    def _port_conflict(self, program: Program, port: int) -> str:
        variable = self.ports.variable(port)
        fix = f"set {variable} to a free port" if variable else "stop the program that uses it"
        owner = port_owner(port)
        by = ""
        if owner is not None:
            if (other := stack_of(owner)) is not None:
                return (
                    f"port {port}, which {program.name} needs, is in use by the stack of {other}: "
                    f"stop it there (make down), or {fix}"
                )
            with contextlib.suppress(psutil.Error):
                by = f" by {owner.name()} (process {owner.pid})"
        return f"port {port}, which {program.name} needs, is in use{by}: {fix}"

    def _prepare_data(self) -> None:
        if not is_stack_env(self.env_file) and not (self.data / "supervisor").exists():
            # `clean` deletes these names, so they must not be somebody else's.
            for name in ("kafka", "minio", "registry", "connect", "dagster", "logs", "stack.env"):
                if (self.data / name).exists():
                    raise StackError(
                        f"{self.data} holds a {name} that no stack made: set"
                        " MASTODON_PIPELINE_DATA to another directory"
                    )
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite creates the catalog's file, but not its directory.
            (self.data / "lake").mkdir(exist_ok=True)
        except OSError as error:
            raise StackError(
                f"the data directory {self.data} cannot be created ({error.strerror}): "
                "set MASTODON_PIPELINE_DATA to another"
            ) from None

    def _saved_variables(self) -> dict[str, str]:
        values = dotenv_values(self.env_file, interpolate=False) if self.env_file.exists() else {}
        return {name: value for name, value in values.items() if value is not None}

    def _status_of(self, process: Process) -> ProgramStatus:
        state, memory = process.state, 0
        if state == "RUNNING":
            probe = probes(self.ports, self._saved_variables()).get(process.name, lambda: True)
            state = "ready" if probe() else "not answering"
        with contextlib.suppress(psutil.Error):
            if process.pid:
                parent = psutil.Process(process.pid)
                memory = sum(map(memory_bytes, [parent, *parent.children(recursive=True)]))
        return ProgramStatus(
            name=process.name,
            state=state,
            pid=process.pid,
            memory_bytes=memory,
            address=process.address,
            log=self.supervisor.log_of(process.name),
        )


@contextlib.contextmanager
def _ignoring_sigint() -> Iterator[None]:
    """Keep a second Ctrl-C from interrupting the shutdown that the first one started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
