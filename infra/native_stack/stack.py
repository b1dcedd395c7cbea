"""The native stack: everything beside the pipeline, started in order, watched, stopped cleanly."""

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
from infra.native_stack.interruption import Check, deferred
from infra.native_stack.ports import Ports, holder, in_use
from infra.native_stack.processes import (
    end_processes,
    marked_processes,
    memory_bytes,
    stack_of,
)
from infra.native_stack.program import Program
from infra.native_stack.programs import (
    Installation,
    dagster_programs,
    probes,
    stack_programs,
)
from infra.native_stack.starting import start_in_order
from infra.native_stack.supervision import (
    Process,
    Supervisor,
)
from mastodon_pipeline.settings import data_directory


@dataclass(frozen=True, slots=True)
class ProgramStatus:
    """One line of `status`."""

    name: str
    state: str
    """`ready`, or supervisord's word for it; `not answering` where it runs but its probe fails."""
    pid: int
    memory_bytes: int
    """Resident memory of the program and all its children."""
    address: str
    log: Path


class Stack:
    """The native stack of one data directory.

    Everything that must survive is in that directory: Kafka's log, MinIO's objects, the registry's
    schemas, the Iceberg catalog, Dagster's history, the credentials. `down` keeps it all; `clean`
    wipes it.
    """

    def __init__(
        self,
        data: Path | None = None,
        ports: Ports | None = None,
        cache: Path | None = None,
        say: Callable[[str], None] = print,
    ) -> None:
        """By default as the environment says: data directory, ports and cache.

        A stack that is running keeps the ports it was started with. Raises StackError for ports
        that cannot be.
        """
        self.data = data or data_directory()
        self.env_file = self.data / "stack.env"
        self.supervisor = Supervisor(self.data)
        if ports is None:
            environment = self._kept() if self.supervisor.running() else os.environ
            ports = Ports.from_environment(environment)
        self.ports = ports
        self.addresses = Addresses.of(ports)
        self.cache = cache or cache_directory()
        self._say = say

    @property
    def environment(self) -> dict[str, str]:
        """What the pipeline needs to reach this stack, credentials included: `stack.env`'s values,
        and the data directory. Empty before the first start."""
        kept = self._kept()
        return {**kept, "MASTODON_PIPELINE_DATA": str(self.data)} if kept else {}

    def fetch(self) -> None:
        """Brings all that the stack is made of; see `fetch.fetch`."""
        with deferred() as check:
            fetch(self.cache, self._say, check)

    def up(
        self, with_dagster: bool = False, extra: Sequence[Program] = (), restart: bool = False
    ) -> None:
        """Starts what is not running yet, in order, and returns when all of it is ready.

        Does nothing for a program that runs already, unless its configuration or environment has
        changed, or `restart` is set: then it is restarted. `extra` programs start as soon as those
        in their `after` are ready; Dagster comes after all of them.

        When it fails or is interrupted (Ctrl-C, SIGTERM, SIGHUP: KeyboardInterrupt), it stops
        again what it started. Raises StackError.
        """
        with deferred() as check:
            self._up(with_dagster, extra, restart, check)

    def _up(
        self, with_dagster: bool, extra: Sequence[Program], restart: bool, check: Check
    ) -> None:
        artifacts = fetch(self.cache, self._say, check)
        self._prepare_data()
        waits = "waiting for another `up` of the same stack"
        with locked(self.data / "up.lock", lambda: self._say(waits), check):
            variables = stack_variables(self.addresses, self.ports, self._kept())
            write_stack_env(self.env_file, variables)
            stack = Installation(
                data=self.data,
                ports=self.ports,
                addresses=self.addresses,
                artifacts=artifacts,
                access_key=variables["AWS_ACCESS_KEY_ID"],
                secret_key=variables["AWS_SECRET_ACCESS_KEY"],
            )
            programs = [*stack_programs(stack), *extra]
            if with_dagster:
                after = tuple(program.name for program in programs)
                programs += dagster_programs(stack, self.environment, after)
            self._start(programs, restart, check)

    def down(self) -> None:
        """Stops everything in the reverse of its starting order; the data stays.

        Also ends what a killed process manager left behind.
        """
        if not self.supervisor.running() and not marked_processes(self.data):
            self._say("the stack is not running")
            return
        began = time.monotonic()
        names = [process.name for process in self.supervisor.processes()]
        with _undisturbed():
            for name in reversed(names):
                self.supervisor.stop(name)
                self._say(f"  {name} stopped")
            self.supervisor.shutdown()
        self._say(f"the stack is down after {time.monotonic() - began:.0f} s; its data stays")

    def status(self) -> list[ProgramStatus]:
        """Every program the stack was started with; empty where it is not running."""
        return [self._status_of(process) for process in self.supervisor.processes()]

    def left_behind(self) -> int:
        """How many processes of this stack run although its process manager is gone."""
        return 0 if self.supervisor.running() else len(marked_processes(self.data))

    def memory_bytes(self) -> int:
        """Resident memory of everything the stack started, process manager included."""
        return sum(memory_bytes(process) for process in marked_processes(self.data))

    def clean(self) -> None:
        """Stops the stack and removes its data directory.

        Raises StackError for a directory that no native stack made.
        """
        if not self.data.exists():
            self._say(f"there is nothing in {self.data}")
            return
        if not is_stack_env(self.env_file):
            raise StackError(
                f"{self.data} holds no stack.env of a native stack, so it is not ours to wipe; "
                "remove it yourself if it should go"
            )
        self.down()
        shutil.rmtree(self.data)
        self._say(f"wiped {self.data}: toots, tables, schemas, Dagster's history, credentials")

    def _start(self, programs: list[Program], restart: bool, check: Check) -> None:
        began = time.monotonic()
        fresh = not self.supervisor.running()
        before = {process.name for process in self.supervisor.processes()}
        if fresh:
            if count := end_processes(self.data, patience=10):
                self._say(f"ended {count} processes that a killed process manager left behind")
            self._require_free_ports(programs)
        try:
            if fresh:
                self.supervisor.start()
            unchanged = self.supervisor.knows(programs)
            states = {process.name: process.state for process in self.supervisor.processes()}
            if restart:
                unchanged.clear()
            todo = [p for p in programs if p.name not in unchanged or states[p.name] != "RUNNING"]
            for program in reversed(todo):
                self.supervisor.stop(program.name)
            self._require_free_ports(todo)
            start_in_order(self.supervisor, programs, {p.name for p in todo}, self._say, check)
        except BaseException:
            self._say("stopping what was started")
            with _undisturbed():
                if fresh:
                    for program in reversed(programs):
                        self.supervisor.stop(program.name)
                    self.supervisor.shutdown()
                else:
                    for program in reversed(programs):
                        if program.name not in before:
                            self.supervisor.forgets(program.name)
            raise
        if todo:
            self._say(f"all ready after {time.monotonic() - began:.1f} s")
        else:
            self._say("the stack is running already")

    def _require_free_ports(self, programs: Sequence[Program]) -> None:
        for program in programs:
            for port in program.ports:
                if in_use(port):
                    raise StackError(self._taken(program, port))

    def _taken(self, program: Program, port: int) -> str:
        variable = self.ports.variable(port)
        way_out = f"set {variable} to a free one" if variable else "stop that"
        held = holder(port)
        if held is None:
            return f"port {port}, which {program.name} needs, is in use: {way_out}"
        if (other := stack_of(held)) is not None:
            return (
                f"port {port}, which {program.name} needs, belongs to the stack of {other}: "
                f"stop that one there (make down), or {way_out}"
            )
        with contextlib.suppress(psutil.Error):
            name = f"{held.name()} (process {held.pid})"
            return f"port {port}, which {program.name} needs, is in use by {name}: {way_out}"
        return f"port {port}, which {program.name} needs, is in use: {way_out}"

    def _prepare_data(self) -> None:
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            # The SQLite catalog's directory: SQLite makes files, not directories.
            (self.data / "lake").mkdir(exist_ok=True)
        except OSError as error:
            raise StackError(
                f"the data directory {self.data} cannot be made ({error.strerror}): "
                "set MASTODON_PIPELINE_DATA to a place of yours"
            ) from None

    def _kept(self) -> dict[str, str]:
        values = dotenv_values(self.env_file, interpolate=False) if self.env_file.exists() else {}
        return {name: value for name, value in values.items() if value is not None}

    def _status_of(self, process: Process) -> ProgramStatus:
        state, memory = process.state, 0
        if state == "RUNNING":
            probe = probes(self.ports).get(process.name, lambda: True)
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
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C does not interrupt the stopping that the first one asked for."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
