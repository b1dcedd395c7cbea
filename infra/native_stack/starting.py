"""Start programs in the order of their dependencies, and wait until each is ready."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.native_stack.errors import StackError
from infra.native_stack.interruption import Check
from infra.native_stack.program import Program
from infra.native_stack.supervision import Process, Supervisor

BROKEN_SECONDS = 30.0
"""How long a program may answer with errors while it starts, before it is started again."""
_LAST_LINES = 8


@dataclass(slots=True)
class _Start:
    program: Program
    began: float
    pid: int = 0
    broken_since: float | None = None


def start_in_order(
    supervisor: Supervisor,
    programs: Sequence[Program],
    to_start: set[str],
    say: Callable[[str], None],
    check: Check,
) -> None:
    """Start the programs named in `to_start`, and return when all `programs` are ready.

    A program starts once those that it depends on are ready.

    Raises:
        StackError: a program died or was not ready in time; the message ends with its log.
        KeyboardInterrupt: `check` raised it.
    """
    began = time.monotonic()
    waiting = [program for program in programs if program.name in to_start]
    # Wait for those that run already, too: they may still be starting.
    starting = [_Start(program, began) for program in programs if program.name not in to_start]
    ready: set[str] = set()
    while waiting or starting:
        for program in [program for program in waiting if _may_start(program, ready, programs)]:
            waiting.remove(program)
            supervisor.start(program.name)
            starting.append(_Start(program, time.monotonic()))
        processes = {process.name: process for process in supervisor.processes()}
        for start in list(starting):
            program, name = start.program, start.program.name
            _require_alive(supervisor, start, processes[name])
            seconds = time.monotonic() - start.began
            if processes[name].state in ("STARTING", "RUNNING") and program.ready():
                if program.once_ready is not None:
                    program.once_ready()
                starting.remove(start)
                ready.add(name)
                if name in to_start:
                    address = f", {program.address}" if program.address else ""
                    say(f"  {name} ready after {seconds:.1f} s{address}")
            elif _is_broken(start):
                say(f"  {name} runs, but answers with errors: starting it again")
                supervisor.stop(name)
                supervisor.start(name)
                start.pid, start.broken_since = 0, None
            elif seconds > program.start_seconds:
                raise StackError(
                    f"{name} runs but was not ready within {program.start_seconds:.0f} s\n"
                    + _log_end(supervisor, name)
                )
        time.sleep(0.1)
        check()


def _may_start(program: Program, ready: set[str], programs: Sequence[Program]) -> bool:
    names = {program.name for program in programs}
    return all(name in ready for name in program.depends_on if name in names)


def _is_broken(start: _Start) -> bool:
    """Return whether the program has been broken for too long."""
    if start.program.broken is None or not start.program.broken():
        start.broken_since = None
        return False
    start.broken_since = start.broken_since or time.monotonic()
    return time.monotonic() - start.broken_since >= BROKEN_SECONDS


def _require_alive(supervisor: Supervisor, start: _Start, process: Process) -> None:
    start.pid = start.pid or process.pid
    restarted = process.pid and process.pid != start.pid
    if restarted or process.state in ("BACKOFF", "FATAL", "EXITED", "STOPPED", "UNKNOWN"):
        problem = f": {process.problem}" if process.problem else ""
        name = start.program.name
        raise StackError(f"{name} died while starting{problem}\n{_log_end(supervisor, name)}")


def _log_end(supervisor: Supervisor, name: str) -> str:
    log = supervisor.log_of(name)
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        lines = []
    return "".join(f"    {line[:200]}\n" for line in lines) + f"  full log: {log}"
