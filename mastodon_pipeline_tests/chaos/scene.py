"""A whole pipeline to kill parts of: stack, Dagster, a simulated Fediverse that keeps posting."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import httpx
import psutil
import pytest
from confluent_kafka import Consumer, TopicPartition

from infra.native_stack import Ports, Stack
from infra.native_stack.processes import marked_processes
from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from infra.simulator.truth import TrueToot
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    last_heartbeat,
    listener_runs,
)
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import Settings, load_settings

TOOTS_PER_SECOND = 3.0
RECOVERY_SECONDS = 60.0
"""Within this time of any kill, every server is listened to again (design invariant 2)."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """A line of the table at the end."""

    name: str
    seconds: float
    remark: str = ""


class TopicWatch:
    """Reads the topic continuously, also over a restart of the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="topic watch")
        self.uris: set[str] = set()
        self.streamed: Counter[tuple[str, str]] = Counter()
        """How often each toot came over a server's stream, by (uri, the server's base URL)."""
        self.offsets: dict[int, int] = {}
        """By partition: the offset after the last record read."""

    def __enter__(self) -> "TopicWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        topic = self._settings.kafka_topic
        consumer = Consumer(
            {
                **self._settings.kafka_client_config(),
                "group.id": f"chaos-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        while not self._stop.is_set():
            message = consumer.poll(0.5)
            if message is None or message.error() or (value := message.value()) is None:
                continue
            record = decode(value)
            if record.source == "stream" and record.event == "update":
                self.streamed[record.uri, record.base_url] += 1
            self.offsets[message.partition() or 0] = (message.offset() or 0) + 1
            self.uris.add(record.uri)
        consumer.close()


class Scene:
    """A running pipeline: what can be killed in it, what was published, and what arrived."""

    instance: dg.DagsterInstance
    topic: TopicWatch

    def __init__(
        self,
        stack: Stack,
        simulator: Simulator,
        measurements: list[Measurement],
    ) -> None:
        self.stack = stack
        self.simulator = simulator
        self.duplicates_by_resumed_run = 0
        """Toots streamed a second time by a run that hung, was replaced and was resumed."""
        self._measurements = measurements

    def query_dagster(self, query: str, **variables: object) -> Any:
        """Return the data of a GraphQL query to Dagster, as the UI sends them."""
        url = f"{self.stack.addresses.dagster_url}/graphql"
        body = {"query": query, "variables": variables}
        response = httpx.post(url, json=body, timeout=120).raise_for_status().json()
        assert "errors" not in response, response
        return response["data"]

    def up(self) -> None:
        """Start the stack and Dagster, as `make up` does."""
        subprocess.run(
            [sys.executable, "-m", "infra.native_stack", "up", "--with-dagster"],
            cwd=REPOSITORY,
            check=True,
            timeout=300,
        )

    def set_publishing_rate(self, toots_per_second: float) -> None:
        """Set how many toots the simulated servers publish from now on."""
        fediverse = self.simulator.fediverse
        self.simulator.call(lambda: setattr(fediverse, "live_rate", toots_per_second))

    def stop_publishing(self) -> list[TrueToot]:
        """Return all published toots, once the last one that was on its way is published."""
        self.set_publishing_rate(0.0)
        before, truth = -1, self.simulator.truth()
        while len(truth) != before:
            time.sleep(2 / TOOTS_PER_SECOND)
            before, truth = len(truth), self.simulator.truth()
        return truth

    def measure(self, name: str, seconds: float, remark: str = "") -> None:
        """Print a measurement now, and again in the table at the end."""
        self._measurements.append(Measurement(name, seconds, remark))
        print(f"  {datetime.now(UTC):%T} {name}: {seconds:.1f} s {remark}", flush=True)

    def listener(self) -> str:
        """Return the id of the only run that listens."""
        [run_id] = self.listeners()
        return run_id

    def listeners(self) -> list[str]:
        """Return the ids of the listener runs that Dagster shows as started."""
        return [
            r.run_id for r in listener_runs(self.instance, DEFAULT_GROUP) if r.state == "started"
        ]

    def listener_process(self) -> psutil.Process:
        """Return the process of the run that sent the last heartbeat."""
        process = psutil.Process(last_heartbeat(self.instance, DEFAULT_GROUP).pid)
        assert str(self.stack.data) in str(process.environ().values())
        return process

    def set_setting(self, name: str, value: str) -> None:
        """Change a setting in a settings file, which sensors read at each tick."""
        with self.stack.env_file.open("a") as file:
            file.write(f"{name}={value}\n")

    def kill(self, program: str) -> None:
        """Send SIGKILL to one of the stack's programs."""
        [pid] = [p.pid for p in self.stack.supervisor.processes() if p.name == program]
        os.kill(pid, signal.SIGKILL)

    def kill_everything(self) -> int:
        """Send SIGKILL to every process, the process manager first; return their number."""
        processes = marked_processes(self.stack.data)
        for process in sorted(processes, key=lambda process: process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=60)
        return len(processes)

    def wait_for_recovery(self, since: float, seconds: float = RECOVERY_SECONDS) -> float:
        """Publish a toot at every server; return the seconds from `since` until all are in Kafka.

        `since`: monotonic seconds. Fails if it takes longer than `seconds`.
        """
        fresh = {self.simulator.publish(number) for number in range(len(self.simulator.servers))}
        self.wait_until(lambda: fresh <= self.topic.uris, "toots of every server", seconds, since)
        return time.monotonic() - since

    def wait_until_replaced(self, before: str) -> None:
        """Wait until another run than this one listens and sends heartbeats."""

        def another_listens() -> bool:
            run_id = last_heartbeat(self.instance, DEFAULT_GROUP).run_id
            return run_id not in ("", before) and run_id in self.listeners()

        self.wait_until(another_listens, "another run", RECOVERY_SECONDS)
        assert self.listeners() != [before]

    def assert_listeners_stay(self, run_ids: list[str], seconds: float) -> None:
        """Fail if within this time any other runs than these are started."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.listeners() == run_ids
            time.sleep(0.5)

    def reset_stream_count(self) -> None:
        """Start to count again how many streams are open at once at each server."""

        def reset() -> None:
            for server in self.simulator.servers:
                server.streams.most_at_once = 0

        self.simulator.call(reset)

    def most_streams_at_once(self) -> int:
        """Return the most streams open at once at any server since `reset_stream_count`."""
        servers = self.simulator.servers
        return self.simulator.call(lambda: max(s.streams.most_at_once for s in servers))

    def duplicates(self) -> int:
        """Return how many records hold a toot that its server's stream had brought before."""
        return sum(count - 1 for count in self.topic.streamed.values())

    def wait_until(
        self,
        condition: Callable[[], bool],
        what: str,
        seconds: float,
        since: float | None = None,
    ) -> None:
        """Wait until the condition holds; fail `seconds` after `since`, by default after now."""
        deadline = (time.monotonic() if since is None else since) + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            time.sleep(0.1)

    def tables(self) -> dict[str, tuple[str, int]]:
        """Return each toot in `toots`: server and post time (UTC ms) by uri. Fail on duplicates."""
        settings = load_settings()
        toots = f"s3://{settings.s3_bucket}/toots/**/*.parquet"
        with connect_lake(settings) as lake:
            try:
                rows = lake.execute(
                    "select uri, server, epoch_ms(created_at) from read_parquet($toots)",
                    {"toots": toots},
                ).fetchall()
            except (duckdb.IOException, duckdb.HTTPException):
                return {}  # nothing has been built yet
        toots_by_uri = {uri: (server, created_at) for uri, server, created_at in rows}
        assert len(toots_by_uri) == len(rows), "a toot is in the tables twice"
        return toots_by_uri


@contextlib.contextmanager
def running_scene(measurements: list[Measurement]) -> Iterator[Scene]:
    """Run the whole pipeline on free ports and in a new directory; remove it afterwards."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-chaos-")).resolve()
    stack = Stack(data=data, ports=Ports.free())
    options = Options(toots=0, start="now")
    with contextlib.ExitStack() as ends:
        ends.callback(shutil.rmtree, data)
        ends.callback(stack.down)
        environment = ends.enter_context(pytest.MonkeyPatch.context())
        simulator = ends.enter_context(Simulator(options))
        for name, value in {
            **simulator.environment,
            **{name: str(port) for name, port in stack.ports.variables()},
            "MASTODON_PIPELINE_DATA": str(data),
            "MASTODON_POLL_INTERVAL_SECONDS": "1",
            "DAGSTER_HOME": str(data / "dagster"),
        }.items():
            environment.setenv(name, value)
        scene = Scene(stack, simulator, measurements)
        scene.up()
        settings = load_settings()
        ensure_topics(settings, listening_topics(settings))
        scene.instance = ends.enter_context(dg.DagsterInstance.get())
        scene.topic = ends.enter_context(TopicWatch(load_settings()))
        scene.wait_for_recovery(time.monotonic(), 120)
        scene.wait_until_replaced("")
        # Not before: a listener reads no history of a server that is new to it.
        scene.set_publishing_rate(TOOTS_PER_SECOND)
        yield scene
