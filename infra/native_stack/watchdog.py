"""Kills programs that run but are of no use, so that supervisord starts them again.

supervisord sees only what has ended. A program may also hang, or run in vain: the registry's
database, for one, closes itself when the disk is full, and stays closed once there is room again.
And once Kafka's data was wiped, Kafka Connect asks for its own topics without end, which only its
start would create; it may go on answering for minutes meanwhile.

Looks are counted, not seconds: a machine that has slept gives every program its time.

    python -m infra.native_stack.watchdog
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from infra.native_stack.ports import LOOPBACK
from infra.native_stack.probes import Probe, kafka_lacks_topics
from infra.native_stack.programs import CONNECT_NEEDS, CONNECT_TOPICS, probes
from infra.native_stack.stack import Stack
from infra.native_stack.supervision import Process

LOOK_SECONDS = 10.0
SILENT_LOOKS = 6
"""Of a program that has answered before: after a minute."""
STARTING_LOOKS = 72
"""Of one that has not answered since it started: later than `up` would give it up."""
NEEDS = {"connect": CONNECT_NEEDS}
"""What a program may wait for: it is not blamed while one of these does not answer."""
_UNWATCHED = "dagster-daemon"
"""Its probe asks the webserver, so its silence may be the webserver's."""


@dataclass(slots=True)
class _Silence:
    pid: int
    looks: int = 0
    answered: bool = False


class Watchdog:
    """Counts for how many looks each program has been silent.

    `obsolete` has probes of what a program cannot go on with: it is to start again if it has
    answered in an earlier look.
    """

    def __init__(
        self, probes: Mapping[str, Probe], obsolete: Mapping[str, Probe] | None = None
    ) -> None:
        self._probes = {name: probe for name, probe in probes.items() if name != _UNWATCHED}
        self._obsolete = obsolete or {}
        self._silences: dict[str, _Silence] = {}

    def look(self, processes: Sequence[Process]) -> list[tuple[Process, str]]:
        """Ask every program that runs; return those to be killed, and why."""
        running = {p.name: p for p in processes if p.state == "RUNNING" and p.name in self._probes}
        answers = {name: self._probes[name]() for name in running}
        kill = []
        for name, process in running.items():
            silence = self._silences.get(name)
            if silence is None or silence.pid != process.pid:
                silence = self._silences[name] = _Silence(process.pid)
            answered_before = silence.answered
            if answers[name]:
                silence.looks, silence.answered = 0, True
            elif all(answers.get(need, False) for need in NEEDS.get(name, ())):
                silence.looks += 1
            reason = ""
            if silence.looks >= (SILENT_LOOKS if silence.answered else STARTING_LOOKS):
                reason = "does not answer"
            elif answered_before and name in self._obsolete and self._obsolete[name]():
                reason = "has lost its topics"
            if reason:
                kill.append((process, reason))
                del self._silences[name]
        return kill


def watch(stack: Stack, say: Callable[[str], object]) -> None:
    """Look every few seconds, for good."""
    lacks_topics = kafka_lacks_topics(LOOPBACK, stack.ports.kafka_port, CONNECT_TOPICS)
    watchdog = Watchdog(probes(stack.ports, stack.environment), {"connect": lacks_topics})
    while True:
        for process, reason in watchdog.look(stack.supervisor.processes()):
            say(f"{process.name} (process {process.pid}) {reason}: killing it")
            with contextlib.suppress(OSError):
                os.kill(process.pid, signal.SIGKILL)
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    watch(Stack(), lambda line: print(time.strftime("%Y-%m-%d %H:%M:%S"), line, flush=True))
