"""Processes are killed, stopped, or hang: each program, the listener's run, and all at once."""

import contextlib
import signal
from functools import partial

import psutil

from infra.native_stack.processes import wait_until_ended
from mastodon_pipeline_tests.chaos.fault import MOMENT, Fault, answers, send, sink_runs
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.support.waiting import wait_until

DAGSTER = ("dagster-code-server", "dagster-webserver", "dagster-daemon")
PROGRAMS = ("kafka", "minio", "registry", "connect", *DAGSTER)


def kill_program(pipeline: Pipeline, name: str) -> None:
    """SIGKILL to a program, not to its children."""
    send(pipeline.processes(name)[:1], signal.SIGKILL)


def stop_program(pipeline: Pipeline, name: str) -> None:
    send(pipeline.processes(name), signal.SIGSTOP)


def continue_program(pipeline: Pipeline, name: str) -> None:
    send(pipeline.processes(name), signal.SIGCONT)


def kill_listener(pipeline: Pipeline) -> None:
    """SIGKILL to the listener's run, once there is one."""
    send([wait_for_listener(pipeline)], signal.SIGKILL)


def wait_for_listener(pipeline: Pipeline) -> psutil.Process:
    """Return the process of the run that listens, once there is one."""
    process = wait_until(partial(listener_or_none, pipeline), "a run listens", 1200)
    assert process is not None
    return process


def listener_or_none(pipeline: Pipeline) -> psutil.Process | None:
    with contextlib.suppress(Exception):  # the disk of Dagster's storage may be full
        return pipeline.listener()
    return None


class StoppedListener:
    """SIGSTOP to the listener's run, and SIGCONT to the same process."""

    def __init__(self) -> None:
        self._process: psutil.Process | None = None

    def begin(self, pipeline: Pipeline) -> None:
        self._process = wait_for_listener(pipeline)
        send([self._process], signal.SIGSTOP)

    def end(self, pipeline: Pipeline) -> None:
        send([self._process] if self._process else [], signal.SIGCONT)


def everything_works(pipeline: Pipeline) -> bool:
    """Return whether all programs answer, a run listens and the sink runs."""
    return answers(pipeline, *PROGRAMS) and pipeline.listens() and sink_runs(pipeline)


def kill_everything(pipeline: Pipeline) -> None:
    """SIGKILL to every process, the process manager first, as in a power cut; then `make up`."""
    processes = pipeline.all_processes()
    send(processes, signal.SIGKILL)
    wait_until_ended(processes, 20)
    pipeline.up()


def stop_everything(pipeline: Pipeline) -> None:
    """SIGSTOP to every process, twice, since one may be starting another."""
    for _ in range(2):
        send(pipeline.all_processes(), signal.SIGSTOP)


def continue_everything(pipeline: Pipeline) -> None:
    send(pipeline.all_processes(), signal.SIGCONT)


def _of_program(name: str) -> dict[str, Fault]:
    recovered = partial(_answers, name=name)
    stop = partial(stop_program, name=name)
    resume = partial(continue_program, name=name)
    # A stopped code server's runs are stopped with it.
    stopped = (name, "listener") if name == "dagster-code-server" else (name,)
    faults = {
        f"kill -9 {name}": Fault(MOMENT, partial(kill_program, name=name), recovered, (name,)),
        f"SIGSTOP {name}": Fault((5, 30), stop, recovered, stopped, resume),
    }
    if name in ("kafka", "minio", "connect"):
        faults[f"{name} hangs"] = Fault(MOMENT, stop, recovered, (name,))  # nobody continues it
    return faults


def _answers(pipeline: Pipeline, name: str) -> bool:
    return answers(pipeline, name)


_stopped = StoppedListener()
_EVERYTHING = (*PROGRAMS, "listener", "sink")
PROCESS_FAULTS = {
    **{name: fault for program in PROGRAMS for name, fault in _of_program(program).items()},
    "kill -9 the listener's run": Fault(MOMENT, kill_listener, Pipeline.listens, ("listener",)),
    "SIGSTOP the listener's run": Fault(
        (8, 40), _stopped.begin, Pipeline.listens, ("listener",), _stopped.end
    ),
    "kill -9 everything, then up": Fault(MOMENT, kill_everything, everything_works, _EVERYTHING),
    "the machine sleeps": Fault(
        (20, 60), stop_everything, everything_works, _EVERYTHING, continue_everything
    ),
}
