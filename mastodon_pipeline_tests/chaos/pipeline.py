"""A whole pipeline to damage: stack, Dagster, a proxy before MinIO, simulated servers that post."""

import contextlib
import os
import re
import shutil
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psutil
from confluent_kafka import KafkaError, Message, Producer

from infra.native_stack import Ports, Stack, StackError
from infra.native_stack.addresses import write_stack_env
from infra.native_stack.processes import marked_processes
from infra.native_stack.programs import probes
from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from infra.simulator.truth import TrueToot
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    last_heartbeat,
    listener_runs,
)
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.chaos.store_proxy import StoreProxy
from mastodon_pipeline_tests.support.small_disk import NoSmallDisk, small_disk
from mastodon_pipeline_tests.support.waiting import wait_until

SMALL_DISKS_MEGABYTES = {"kafka": 400, "minio": 300, "dagster": 300}
"""By directory of the stack's data."""
_LOG_TIME = "%Y-%m-%d %H:%M:%S"
_SPAWNED = re.compile(r"^(?P<at>[-\d]+ [:\d]+),\d+ INFO spawned: '(?P<name>[^']+)'", re.M)
_KILLED = re.compile(r"^(?P<at>[-\d]+ [:\d]+) (?P<name>\S+) .*: killing it$", re.M)
LATEST_COPY_SECONDS = 2.0
"""After a toot, another server lists a copy of it."""
FRESH_HEARTBEAT_SECONDS = 12.0
"""A run sends one every 5 s."""


class Pipeline:
    """What is running, and how to reach into it. Its methods may be called from any thread."""

    instance: dg.DagsterInstance

    def __init__(self, stack: Stack, simulator: Simulator, proxy: StoreProxy) -> None:
        self.stack = stack
        self.simulator = simulator
        self.proxy = proxy
        self.small_disks: set[str] = set()
        """The stack's directories that are small disks, to be filled."""
        self.poison_records = 0
        """Values that are no record, produced to the topic, as far as Kafka still has it."""
        self.bucket_deleted = False
        """Whether it ever was."""
        self.strange_files: set[str] = set()
        """Keys of files below `topics/` that the sink did not write: damaged, or foreign."""
        self._up, self._counting = threading.Lock(), threading.Lock()

    @property
    def settings(self) -> Settings:
        """The settings of Dagster's processes."""
        return load_settings()

    @property
    def direct_settings(self) -> Settings:
        """The same, but past the proxy."""
        return load_settings(s3_endpoint=f"http://127.0.0.1:{self.stack.ports.minio_port}")

    def up(self) -> None:
        """Start the stack and Dagster, as `make up` does, and again until that succeeds."""
        with self._up:
            while True:
                try:
                    return self.stack.up(with_dagster=True)
                except (StackError, OSError) as error:
                    print(f"    up: {str(error).splitlines()[0]}", flush=True)
                    time.sleep(2)

    def answers(self, program: str) -> bool:
        """Return whether a program runs and answers."""
        return (
            self.pid(program) != 0 and probes(self.stack.ports, self.stack.environment)[program]()
        )

    def pid(self, program: str) -> int:
        """Return a program's process id, 0 if it does not run."""
        processes = self.stack.supervisor.processes()
        return next((p.pid for p in processes if p.name == program), 0)

    def processes(self, program: str) -> list[psutil.Process]:
        """Return a program's process and its children, without Dagster's runs."""
        with contextlib.suppress(psutil.Error):
            if pid := self.pid(program):
                parent = psutil.Process(pid)
                return [parent, *parent.children(recursive=True)]
        return []

    def all_processes(self) -> list[psutil.Process]:
        """Return every process of the stack, the process manager first."""
        return sorted(marked_processes(self.stack.data), key=lambda process: process.pid)

    def listener(self) -> psutil.Process | None:
        """Return the process of the run that sent the last heartbeat, or None if it is gone."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(last_heartbeat(self.instance, DEFAULT_GROUP).pid)
            if process in marked_processes(self.stack.data):
                return process
        return None

    def listens(self) -> bool:
        """Return whether the process of a started run lives and sends heartbeats."""
        heartbeat = last_heartbeat(self.instance, DEFAULT_GROUP)
        return (
            time.time() - heartbeat.sent_at < FRESH_HEARTBEAT_SECONDS
            and self.listener() is not None
            and any(
                run.run_id == heartbeat.run_id and run.state == "started"
                for run in listener_runs(self.instance, DEFAULT_GROUP)
            )
        )

    def connect(self) -> ConnectRest:
        """Return a client of Kafka Connect that gives up soon; use it as a context manager."""
        return ConnectRest.of(self.settings, timeout_seconds=5.0, deadline_seconds=5.0)

    def produce_poison(self, values: Sequence[bytes]) -> None:
        """Produce values that are no record to the topic."""

        def count(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                with self._counting:
                    self.poison_records += 1

        producer = Producer({**self.settings.kafka_client_config(), "log_level": 0})
        for value in values:
            producer.produce(self.settings.kafka_topic, value, "poison", on_delivery=count)
        producer.flush(120)

    def forget_poison(self) -> None:
        """Count from 0: Kafka, with the dead letters, is about to be wiped."""
        with self._counting:
            self.poison_records = 0

    def open_dead_letters(self) -> int:
        """Return how many records of the topic are in the sink's dead letters."""
        return len(read_sink_letters(self.settings, 10.0).unsettled)

    def spawned(self, since: float) -> Counter[str]:
        """Count by program how often supervisord started it since then (seconds, epoch)."""
        return self._count(self.stack.supervisor.log, _SPAWNED, since)

    def killed_by_watchdog(self, since: float) -> Counter[str]:
        """Count by program how often the watchdog killed it since then (seconds, epoch)."""
        return self._count(self.stack.supervisor.log_of("watchdog"), _KILLED, since)

    def _count(self, log: Path, line: re.Pattern[str], since: float) -> Counter[str]:
        matches = line.finditer(log.read_text(errors="replace"))
        times = ((match["name"], time.strptime(match["at"], _LOG_TIME)) for match in matches)
        return Counter(name for name, at in times if time.mktime(at) >= since - 1)

    def set_publishing_rate(self, toots_per_second: float) -> None:
        """Set how many toots the servers publish from now on."""
        fediverse = self.simulator.fediverse
        self.simulator.call(lambda: setattr(fediverse, "live_rate", toots_per_second))

    def stop_publishing(self) -> list[TrueToot]:
        """Return all published toots, once the last one that was on its way is published."""
        self.set_publishing_rate(0.0)
        time.sleep(LATEST_COPY_SECONDS)
        return self.simulator.truth()


@contextlib.contextmanager
def running_pipeline(toots_per_second: float) -> Iterator[Pipeline]:
    """Run the whole pipeline on free ports and in a new directory; remove it afterwards."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-chaos-")).resolve()
    stack = Stack(data=data, ports=Ports.free(), say=lambda line: None)
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, data, ignore_errors=True)
        simulator = ends.enter_context(Simulator(Options(toots=0, start="now")))
        proxy = ends.enter_context(StoreProxy(stack.ports.minio_port))
        # The pipeline and the sink reach MinIO through the proxy.
        stack.addresses = replace(stack.addresses, s3_endpoint=f"http://127.0.0.1:{proxy.port}")
        pipeline = Pipeline(stack, simulator, proxy)
        write_stack_env(stack.env_file, {})  # so that directories made here count as the stack's
        for name, megabytes in SMALL_DISKS_MEGABYTES.items():
            with contextlib.suppress(NoSmallDisk):
                ends.enter_context(small_disk(data / name, megabytes))
                pipeline.small_disks.add(name)
        ends.enter_context(
            _environment(
                {
                    **simulator.environment,
                    **{name: str(port) for name, port in stack.ports.variables()},
                    "MASTODON_PIPELINE_DATA": str(data),
                    "MASTODON_POLL_INTERVAL_SECONDS": "1",
                    "DAGSTER_HOME": str(data / "dagster"),
                }
            )
        )
        ends.callback(stack.down)
        ends.callback(_resume, pipeline)
        pipeline.up()
        pipeline.instance = ends.enter_context(dg.DagsterInstance.get())
        _wait_until_every_server_is_followed(pipeline)
        pipeline.set_publishing_rate(toots_per_second)
        yield pipeline


def _wait_until_every_server_is_followed(pipeline: Pipeline) -> None:
    """A listener reads no history of a server that is new to it, so nothing is published before."""

    def followed() -> bool:
        return all(
            server["streams_open"] or server["polls"]
            for server in pipeline.simulator.status()["servers"]
        )

    wait_until(followed, lambda: str(pipeline.simulator.status()), 1200)
    wait_until(pipeline.listens, "a run listens", 1200)


def _resume(pipeline: Pipeline) -> None:
    for process in pipeline.all_processes():
        with contextlib.suppress(psutil.Error):
            process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
