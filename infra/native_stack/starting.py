"""Starting programs in the order of what they need, and waiting until each answers."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from infra.native_stack.errors import StackError
from infra.native_stack.interruption import Check
from infra.native_stack.program import Program
from infra.native_stack.supervision import Process, Supervisor

_LAST_LINES = 8


@dataclass(slots=True)
class _Starting:
    program: Program
    began: float
    pid: int = 0


def start_in_order(
    supervisor: Supervisor,
    programs: Sequence[Program],
    todo: set[str],
    say: Callable[[str], None],
    check: Check,
) -> None:
    """Starts the programs named in `todo`, each once all that it comes after are ready.

    Returns when every one of `programs` is ready. Raises StackError, with the end of its log,
    where a program dies or is not ready in its time, and KeyboardInterrupt where `check` does.
    """
    began = time.monotonic()
    waiting = [program for program in programs if program.name in todo]
    # What runs already is waited for as well: it may be in the middle of its own start.
    starting = [_Starting(program, began) for program in programs if program.name not in todo]
    ready: set[str] = set()
    while waiting or starting:
        for program in [one for one in waiting if _may_start(one, ready, programs)]:
            waiting.remove(program)
            supervisor.begin(program.name)
            starting.append(_Starting(program, time.monotonic()))
        states = {process.name: process for process in supervisor.processes()}
        for one in list(starting):
            name = one.program.name
            _require_alive(supervisor, one, states[name])
            if states[name].state in ("STARTING", "RUNNING") and one.program.ready():
                one.program.prepare()
                starting.remove(one)
                ready.add(name)
                if name in todo:
                    took = time.monotonic() - one.began
                    address = f", {one.program.address}" if one.program.address else ""
                    say(f"  {name} ready after {took:.1f} s{address}")
            elif time.monotonic() - one.began > one.program.start_seconds:
                raise StackError(
                    f"{name} runs but was not ready within {one.program.start_seconds:.0f} s\n"
                    + _log_end(supervisor, name)
                )
        time.sleep(0.1)
        check()


def _may_start(program: Program, ready: set[str], programs: Sequence[Program]) -> bool:
    names = {one.name for one in programs}
    return all(name in ready for name in program.after if name in names)


def _require_alive(supervisor: Supervisor, one: _Starting, process: Process) -> None:
    one.pid = one.pid or process.pid
    restarted = process.pid and process.pid != one.pid
    if restarted or process.state in ("BACKOFF", "FATAL", "EXITED", "STOPPED", "UNKNOWN"):
        raise StackError(
            f"{one.program.name} died at its start{f': {process.problem}' * bool(process.problem)}"
            f"\n{_log_end(supervisor, one.program.name)}"
        )


def _log_end(supervisor: Supervisor, name: str) -> str:
    log = supervisor.log_of(name)
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        lines = []
    return "".join(f"    {line[:200]}\n" for line in lines) + f"  the whole log: {log}"
