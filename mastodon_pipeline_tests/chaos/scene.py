"""Everything at once, for killing it: stack, Dagster, a simulated Fediverse that never stops."""

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
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    last_heartbeat,
    listener_runs,
)
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.topics import ensure_topics
from mastodon_pipeline.settings import REPOSITORY, Settings, load_settings

TOOTS_PER_SECOND = 3.0
WITHIN_SECONDS = 60.0
"""The promise: listening again."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A line of the table at the end."""

    what: str
    seconds: float
    remark: str = ""


class TopicWatch:
    """Reads the topic all the time, through a broker's death too."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="topic watch")
        self.uris: set[str] = set()
        self.streamed: Counter[tuple[str, str]] = Counter()
        """How often each toot came over a server's stream: (uri, the server's base URL)."""
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
    """What can be killed, what is published, and what came of it."""

    instance: dg.DagsterInstance
    topic: TopicWatch

    def __init__(
        self,
        stack: Stack,
        simulator: Simulator,
        measured: list[Measured],
    ) -> None:
        self.stack = stack
        self.simulator = simulator
        self.doubled_by_the_woken = 0
        """How many toots a run streamed a second time that hung, was replaced and woke up."""
        self._measured = measured

    def ask_dagster(self, query: str, **variables: object) -> Any:
        """Asks Dagster's GraphQL API, as the UI does."""
        url = f"{self.stack.addresses.dagster_url}/graphql"
        body = {"query": query, "variables": variables}
        answer = httpx.post(url, json=body, timeout=120).raise_for_status().json()
        assert "errors" not in answer, answer
        return answer["data"]

    def up(self) -> None:
        """Starts the stack and Dagster, as `make up` does."""
        subprocess.run(
            [sys.executable, "-m", "infra.native_stack", "up", "--with-dagster"],
            cwd=REPOSITORY,
            check=True,
            timeout=300,
        )

    def publish_all_the_time(self, toots_per_second: float) -> None:
        """From now on."""
        fediverse = self.simulator.fediverse
        self.simulator.call(lambda: setattr(fediverse, "live_rate", toots_per_second))

    def stop_publishing(self) -> list[TrueToot]:
        """Returns the truth, once the last toot that was on its way is published."""
        self.publish_all_the_time(0.0)
        before, truth = -1, self.simulator.truth()
        while len(truth) != before:
            time.sleep(2 / TOOTS_PER_SECOND)
            before, truth = len(truth), self.simulator.truth()
        return truth

    def measure(self, what: str, seconds: float, remark: str = "") -> None:
        """Says a measurement now, and again in the table at the end."""
        self._measured.append(Measured(what, seconds, remark))
        print(f"  {datetime.now(UTC):%T} {what}: {seconds:.1f} s {remark}", flush=True)

    def listener(self) -> str:
        """The id of the one run that listens."""
        [run_id] = self.listeners()
        return run_id

    def listeners(self) -> list[str]:
        """The ids of the listener runs that have started and not ended, as Dagster has them."""
        return [
            r.run_id for r in listener_runs(self.instance, DEFAULT_GROUP) if r.state == "started"
        ]

    def listener_process(self) -> psutil.Process:
        """The process of the run that beat last."""
        process = psutil.Process(last_heartbeat(self.instance, DEFAULT_GROUP).pid)
        assert str(self.stack.data) in str(process.environ().values())
        return process

    def set(self, name: str, value: str) -> None:
        """Changes a setting in a settings file, which sensors read at each tick."""
        with self.stack.env_file.open("a") as file:
            file.write(f"{name}={value}\n")

    def kill(self, program: str) -> None:
        """kill -9 of one of the stack's programs."""
        [pid] = [p.pid for p in self.stack.supervisor.processes() if p.name == program]
        os.kill(pid, signal.SIGKILL)

    def kill_everything(self) -> int:
        """kill -9 of every process, the process manager first; how many there were."""
        processes = marked_processes(self.stack.data)
        for process in sorted(processes, key=lambda process: process.pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=20)
        return len(processes)

    def heard_again(self, since: float, seconds: float = WITHIN_SECONDS) -> float:
        """How long after `since` (monotonic) a toot of every server, written after it, is in Kafka.

        Fails where that takes longer than `seconds`.
        """
        fresh = {self.simulator.publish(number) for number in range(len(self.simulator.servers))}
        self.wait(lambda: fresh <= self.topic.uris, "toots of every server", seconds, since)
        return time.monotonic() - since

    def replaced(self, before: str) -> None:
        """Waits until another run than this one listens and says so by its heartbeat."""

        def another() -> bool:
            run_id = last_heartbeat(self.instance, DEFAULT_GROUP).run_id
            return run_id not in ("", before) and run_id in self.listeners()

        self.wait(another, "another run", WITHIN_SECONDS)
        assert self.listeners() != [before]

    def stays(self, run_ids: list[str], seconds: float) -> None:
        """For so many seconds exactly these runs are started."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            assert self.listeners() == run_ids
            time.sleep(0.5)

    def watch_streams(self) -> None:
        """From now on counts how many streams are open at once at each server."""

        def forget() -> None:
            for server in self.simulator.servers:
                server.streams.most_at_once = 0

        self.simulator.call(forget)

    def most_streams_at_once(self) -> int:
        """The most that any server saw at once since `watch_streams`."""
        servers = self.simulator.servers
        return self.simulator.call(lambda: max(s.streams.most_at_once for s in servers))

    def doubled(self) -> int:
        """How many records in the topic are a toot that its server's stream had brought before."""
        return sum(count - 1 for count in self.topic.streamed.values())

    def wait(
        self,
        condition: Callable[[], bool],
        what: str,
        seconds: float,
        since: float | None = None,
    ) -> None:
        """Returns once it holds; fails `seconds` after `since`, or after now."""
        deadline = (time.monotonic() if since is None else since) + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
            time.sleep(0.1)

    def tables(self) -> dict[str, tuple[str, int]]:
        """What `toots` holds: each uri's server and post time, UTC ms. Fails on one held twice."""
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
        found = {uri: (server, created_at) for uri, server, created_at in rows}
        assert len(found) == len(rows), "a toot is in the tables twice"
        return found


@contextlib.contextmanager
def running_scene(measured: list[Measured]) -> Iterator[Scene]:
    """The whole pipeline on ports and a directory of its own, listening; gone afterwards."""
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
        scene = Scene(stack, simulator, measured)
        scene.up()
        ensure_topics(load_settings())
        scene.instance = ends.enter_context(dg.DagsterInstance.get())
        scene.topic = ends.enter_context(TopicWatch(load_settings()))
        scene.heard_again(time.monotonic(), 120)
        scene.replaced("")
        # Not before: of a server that is new to it, a listener reads no history.
        scene.publish_all_the_time(TOOTS_PER_SECOND)
        yield scene
