"""A kind of damage: what is done to the pipeline, how it is undone, and when it has recovered."""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import duckdb
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.landing.connector import drifted_keys
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.support.waiting import wait_until

MOMENT = (0.0, 0.0)
"""A fault without a duration: it is done, and there is nothing to undo."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A kind of damage. What happens to the pipeline until `end` is not for the fault to repair."""

    seconds: tuple[float, float]
    """The shortest and longest time between begin and end."""
    begin: Callable[[Pipeline], object]
    recovered: Callable[[Pipeline], bool]
    """Whether what was damaged works again; asked after the end."""
    touches: tuple[str, ...]
    """The programs, `listener` or `sink`, whose restarts or repairs belong to this fault."""
    end: Callable[[Pipeline], object] = lambda pipeline: None
    await_leave: Callable[[Pipeline], object] = lambda pipeline: None
    """Waits until the fault may happen, after an earlier one that it must not meet."""
    hold: Callable[[Pipeline], object] = lambda pipeline: None
    """Called every second between begin and end."""


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to each process that still exists."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def answers(pipeline: Pipeline, *names: str) -> bool:
    return all(map(pipeline.answers, names))


def sink_runs(pipeline: Pipeline) -> bool:
    """Return whether the sink runs as reviewed."""
    with contextlib.suppress(PipelineError), pipeline.connect() as connect:
        name, wanted = pipeline.settings.connector_name, connector_config(pipeline.settings)
        status = connect.status(name)
        return bool(status and status.running and not drifted_keys(wanted, connect.config(name)))
    return False


def until_done(action: Callable[[], object]) -> None:
    """Repeat an action while what it needs is away, since another fault has stopped it."""

    def done() -> bool:
        try:
            action()
        except (PipelineError, BotoCoreError, ClientError, KeyError, duckdb.Error):
            return False  # KeyError: nothing has landed yet
        return True

    wait_until(done, "the fault happens", 600, poll_seconds=1.0)
