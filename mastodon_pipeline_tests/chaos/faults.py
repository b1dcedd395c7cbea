"""What is done to the pipeline, how it is undone, and when it has recovered."""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

import duckdb
import psutil
from botocore.exceptions import BotoCoreError, ClientError

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.lake.bucket import s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.connector import drifted_keys
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.landing.landed_index import landed_toots
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.chaos.store_proxy import Mode
from mastodon_pipeline_tests.support.small_disk import fill
from mastodon_pipeline_tests.support.waiting import wait_until

PROGRAMS = ("kafka", "minio", "registry", "connect", "dagster-webserver", "dagster-daemon")
CLOCK_STEP_SECONDS = 10.0
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
    hold: Callable[[Pipeline], object] = lambda pipeline: None
    """Called every second between begin and end."""


def send(processes: Iterable[psutil.Process], number: int) -> None:
    """Send a signal to each process that still exists."""
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_program(pipeline: Pipeline, name: str) -> None:
    """SIGKILL to a program, not to its children."""
    send(pipeline.processes(name)[:1], signal.SIGKILL)


def stop_program(pipeline: Pipeline, name: str) -> None:
    send(pipeline.processes(name), signal.SIGSTOP)


def continue_program(pipeline: Pipeline, name: str) -> None:
    send(pipeline.processes(name), signal.SIGCONT)


def answers(pipeline: Pipeline, *names: str) -> bool:
    return all(map(pipeline.answers, names))


def kill_listener(pipeline: Pipeline) -> None:
    """SIGKILL to the listener's run, once there is one."""
    send([wait_for_listener(pipeline)], signal.SIGKILL)


def wait_for_listener(pipeline: Pipeline) -> psutil.Process:
    """Return the process of the run that listens, once there is one."""
    process = wait_until(partial(listener_or_none, pipeline), "a run listens", 300)
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
    psutil.wait_procs(processes, timeout=20)
    pipeline.up()


def stop_everything(pipeline: Pipeline) -> None:
    """SIGSTOP to every process, twice, since one may be starting another."""
    for _ in range(2):
        send(pipeline.all_processes(), signal.SIGSTOP)


def continue_everything(pipeline: Pipeline) -> None:
    send(pipeline.all_processes(), signal.SIGCONT)


def fill_disk(pipeline: Pipeline, name: str) -> None:
    """Leave no byte free, and take again what is deleted meanwhile."""
    if name in pipeline.small_disks:
        fill(pipeline.stack.data / name / "filling")


def free_disk(pipeline: Pipeline, name: str) -> None:
    (pipeline.stack.data / name / "filling").unlink(missing_ok=True)


def stop_registry(pipeline: Pipeline) -> None:
    pipeline.stack.supervisor.stop("registry")


def start_registry(pipeline: Pipeline) -> None:
    """Start it; where the process manager is away, `up` does."""
    with contextlib.suppress(OSError):
        pipeline.stack.supervisor.start("registry")


def wipe_registry(pipeline: Pipeline) -> None:
    """Stop the registry, delete its schemas, and start it."""
    stop_registry(pipeline)
    directory = pipeline.stack.data / "registry"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(exist_ok=True)
    start_registry(pipeline)


def until_done(action: Callable[[], object]) -> None:
    """Repeat an action while what it needs is away, since another fault has stopped it."""

    def done() -> bool:
        try:
            action()
        except (PipelineError, BotoCoreError, ClientError, KeyError):
            return False  # KeyError: nothing has landed yet
        return True

    wait_until(done, "the fault happens", 240, poll_seconds=1.0)


def delete_bucket(pipeline: Pipeline) -> None:
    """Delete all objects and the bucket, past the proxy, although writers go on meanwhile."""
    settings = pipeline.direct_settings

    def delete() -> None:
        with contextlib.closing(s3_client(settings)) as s3:
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=settings.s3_bucket)
            for page in pages:
                for each in page.get("Contents", []):
                    s3.delete_object(Bucket=settings.s3_bucket, Key=each["Key"])
            s3.delete_bucket(Bucket=settings.s3_bucket)

    until_done(delete)


def bucket_is_back(pipeline: Pipeline) -> bool:
    """Return whether the sink runs again, with a table whose metadata exists."""
    return sink_runs(pipeline) and open_table(pipeline.direct_settings) is not None


def delete_connector(pipeline: Pipeline) -> None:
    def delete() -> None:
        with pipeline.connect() as connect:
            connect.delete(pipeline.settings.connector_name)

    until_done(delete)


def change_connector(pipeline: Pipeline) -> None:
    """As by hand: another commit interval, which would make the tables late."""

    def change() -> None:
        name = pipeline.settings.connector_name
        with pipeline.connect() as connect:
            if config := connect.config(name):
                connect.put_config(name, config | {"iceberg.control.commit.interval-ms": "300000"})

    until_done(change)


def sink_runs(pipeline: Pipeline) -> bool:
    """Return whether the sink runs as reviewed."""
    with contextlib.suppress(PipelineError), pipeline.connect() as connect:
        name, wanted = pipeline.settings.connector_name, connector_config(pipeline.settings)
        status = connect.status(name)
        return bool(status and status.running and not drifted_keys(wanted, connect.config(name)))
    return False


def set_store(pipeline: Pipeline, mode: Mode) -> None:
    pipeline.proxy.set_mode(mode)


def step_clocks(pipeline: Pipeline) -> None:
    """Set every other server's clock ahead, and the rest back.

    A toot may then be listed ten seconds below others. A polled local feed meets all that is listed
    up to 15 s late (G1); steps of 40 s, there and back, have lost toots of one.
    """
    for number, server in enumerate(pipeline.simulator.servers):
        server.clock_seconds = CLOCK_STEP_SECONDS * (-1) ** number


def set_clocks_right(pipeline: Pipeline) -> None:
    for server in pipeline.simulator.servers:
        server.clock_seconds = 0.0


def poison(pipeline: Pipeline) -> None:
    """Produce values that are no record: they become dead letters, and the rest lands."""
    pipeline.produce_poison([b"no record", b"\0\0\0\0\1 nor this", b"\0"])


def put_damaged_file(pipeline: Pipeline) -> None:
    """Put a file that is no Parquet beside the newest landed one."""
    settings = pipeline.direct_settings

    def put() -> None:
        with contextlib.closing(s3_client(settings)) as s3:
            topics = s3.list_objects_v2(Bucket=settings.s3_bucket, Prefix="topics/")
            folder = max(each["Key"] for each in topics["Contents"]).rpartition("/")[0]
            name = f"{folder}/damaged-{len(pipeline.damaged_files)}.parquet"
            s3.put_object(Bucket=settings.s3_bucket, Key=name, Body=b"PAR1xyz")
            pipeline.damaged_files.add(name)

    until_done(put)


def damaged_files_are_named(pipeline: Pipeline) -> bool:
    """Return whether what lists the landed files names each damaged one that is still there."""
    with (
        contextlib.suppress(PipelineError, duckdb.Error),
        open_lake(pipeline.direct_settings) as lake,
    ):
        named = {file.path for file in landed_toots(lake).unreadable}
        present = {file.path for file in lake.list_files(lake.layout.landed())}
        return all(
            any(path.endswith(name) for path in named)
            for name in pipeline.damaged_files
            if any(path.endswith(name) for path in present)
        )
    return False


def poison_is_reported(pipeline: Pipeline) -> bool:
    """Return whether as many dead letters as poison records turn a light red."""
    with contextlib.suppress(PipelineError):
        return pipeline.open_dead_letters() >= pipeline.poison_records
    return False


def _stopped_listener() -> Fault:
    stopped = StoppedListener()
    return Fault((8, 40), stopped.begin, Pipeline.listens, ("listener",), stopped.end)


def _program_faults(name: str) -> dict[str, Fault]:
    recovered: Callable[[Pipeline], bool] = lambda pipeline: answers(pipeline, name)  # noqa: E731
    return {
        f"kill -9 {name}": Fault(MOMENT, partial(kill_program, name=name), recovered, (name,)),
        f"SIGSTOP {name}": Fault(
            (5, 30),
            partial(stop_program, name=name),
            recovered,
            (name,),
            partial(continue_program, name=name),
        ),
    }


def _hang(name: str) -> Fault:
    """SIGSTOP, and nobody continues it."""
    return Fault(
        MOMENT,
        partial(stop_program, name=name),
        lambda pipeline: answers(pipeline, name),
        (name,),
    )


def _full_disk(name: str, *programs: str) -> Fault:
    filling = partial(fill_disk, name=name)
    return Fault(
        (15, 45),
        filling,
        lambda pipeline: answers(pipeline, *programs),
        programs,
        partial(free_disk, name=name),
        filling,
    )


FAULTS: dict[str, Fault] = {
    **{name: fault for program in PROGRAMS for name, fault in _program_faults(program).items()},
    **{f"{program} hangs": _hang(program) for program in ("kafka", "minio", "connect")},
    "kill -9 the listener's run": Fault(MOMENT, kill_listener, Pipeline.listens, ("listener",)),
    "SIGSTOP the listener's run": _stopped_listener(),
    "kill -9 everything, then up": Fault(
        MOMENT, kill_everything, everything_works, (*PROGRAMS, "listener", "sink")
    ),
    "the machine sleeps": Fault(
        (20, 60),
        stop_everything,
        everything_works,
        (*PROGRAMS, "listener", "sink"),
        continue_everything,
    ),
    "disk full: Kafka": _full_disk("kafka", "kafka", "connect"),
    "disk full: MinIO": _full_disk("minio", "minio"),
    "disk full: Dagster": _full_disk("dagster", "dagster-webserver", "dagster-daemon"),
    "registry away": Fault(
        (10, 60),
        stop_registry,
        lambda pipeline: answers(pipeline, "registry"),
        ("registry", "connect"),
        start_registry,
    ),
    "registry wiped": Fault(
        MOMENT, wipe_registry, lambda pipeline: answers(pipeline, "registry"), ("registry",)
    ),
    "bucket deleted": Fault(MOMENT, delete_bucket, bucket_is_back, ("sink",)),
    "connector deleted": Fault(MOMENT, delete_connector, sink_runs, ("sink",)),
    "connector changed": Fault(MOMENT, change_connector, sink_runs, ("sink",)),
    "MinIO answers 503": Fault(
        (10, 40),
        partial(set_store, mode="refuse"),
        sink_runs,
        ("sink",),
        partial(set_store, mode="pass"),
    ),
    "MinIO is slow": Fault(
        (10, 40),
        partial(set_store, mode="slow"),
        sink_runs,
        ("sink",),
        partial(set_store, mode="pass"),
    ),
    "servers' clocks step": Fault(
        (10, 60), step_clocks, Pipeline.listens, ("listener",), set_clocks_right
    ),
    "damaged file in the lake": Fault(MOMENT, put_damaged_file, damaged_files_are_named, ()),
    "poison records": Fault(MOMENT, poison, poison_is_reported, ("sink",)),
}
