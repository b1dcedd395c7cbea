"""Two listeners from a simulated server's stream into Kafka: ours, and the article's.

The server is a process of its own, on loopback, with Mastodon's framing: two HTTP chunks an event.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
from bs4 import BeautifulSoup
from confluent_kafka import Producer
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from mastodon import Mastodon, StreamListener

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.listening.topic.opening import open_listener
from mastodon_pipeline.listening.topic.registry import registry_client
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import load_settings

ARTICLE_SCHEMA = """
{"type": "record", "name": "MastodonDetails", "fields": [
  {"name": "m_id", "type": "long"}, {"name": "created_at", "type": "int"},
  {"name": "created_at_str", "type": "string"}, {"name": "app", "type": "string"},
  {"name": "url", "type": "string"}, {"name": "base_url", "type": "string"},
  {"name": "language", "type": "string"}, {"name": "favourites", "type": "int"},
  {"name": "username", "type": "string"}, {"name": "bot", "type": "boolean"},
  {"name": "tags", "type": "int"}, {"name": "characters", "type": "int"},
  {"name": "words", "type": "int"}, {"name": "mastodon_text", "type": "string"}]}
"""


@dataclass(frozen=True)
class Measurement:
    """How many toots a listener took, and the time it needed."""

    toots: int
    cpu_seconds: float
    """Of the whole process, librdkafka's threads included."""
    clock_seconds: float

    @property
    def per_core(self) -> float:
        """Toots by CPU second."""
        return self.toots / self.cpu_seconds

    @property
    def microseconds(self) -> float:
        """CPU microseconds a toot."""
        return self.cpu_seconds / self.toots * 1e6


class Meter:
    """Measures CPU and clock time from the first toot to the last."""

    def __init__(self) -> None:
        self._cpu = self._clock = 0.0

    def start(self) -> None:
        """Start measuring: the first toot is about to come."""
        self._cpu, self._clock = time.process_time(), time.perf_counter()

    def stop(self, toots: int) -> Measurement:
        """Return the measurement of this many toots."""
        return Measurement(
            toots, time.process_time() - self._cpu, time.perf_counter() - self._clock
        )


class SimulatedServer:
    """A server that streams its toots all at once after `start`; a context manager."""

    token = "benchmark"

    def __init__(self, toots: int) -> None:
        port, control = _free_ports()
        self.url = f"http://127.0.0.1:{port}"
        self._control = httpx.Client(base_url=f"http://127.0.0.1:{control}")
        self._command = [
            *(sys.executable, "-m", "infra.simulator", "--servers", "1"),
            *("--toots", str(toots), "--speed", "inf", "--start", "control"),
            *("--first-port", str(port), "--control-port", str(control)),
        ]
        self._environment = {f"MASTODON_TOKEN_127_0_0_1_{port}": self.token}

    def __enter__(self) -> "SimulatedServer":
        self._process = subprocess.Popen(
            self._command,
            cwd=REPOSITORY,
            env=dict(psutil.Process().environ(), **self._environment),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # It logs every client that leaves a stream.
        )
        wait_for(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._control.close()

    def start(self) -> None:
        """Publish all toots at once."""
        self._control.post("/start").raise_for_status()

    def streams_open(self) -> int:
        """Return the number of open streams."""
        return int(self._control.get("/status").json()["servers"][0]["streams_open"])

    def _answers(self) -> bool:
        try:
            return self._control.get("/status").is_success
        except httpx.HTTPError:
            return False


def measure_ours(toots: int) -> Measurement:
    """Measure all that a listener run of ours does, from discovery to saved positions."""
    with SimulatedServer(toots) as simulated:
        server = parse_server(simulated.url)
        os.environ[server.token_env] = simulated.token
        settings = load_settings(
            mastodon_allow_private_addresses=True, kafka_topic=f"bench-{time.time_ns()}"
        )
        listener = open_listener([server], settings)
        thread = threading.Thread(target=listener.run)
        thread.start()
        statistics = listener.statistics[0]
        wait_for(lambda: statistics.state == "streaming")
        meter = Meter()
        meter.start()
        simulated.start()
        wait_for(lambda: statistics.toots >= toots, seconds=300)
        listener.stop()
        thread.join()  # flushed, acknowledged, positions saved: all of it is measured
        return meter.stop(statistics.toots)


class ArticleListener(StreamListener):
    """The article's listener: everything for one toot before the next, down to the flush."""

    def __init__(self, toots_wanted: int, base_url: str, topic: str) -> None:
        settings = load_settings()
        registry = registry_client(settings)
        self._serializer = AvroSerializer(registry, ARTICLE_SCHEMA)
        self._producer = Producer(settings.kafka_client_config())
        self._base_url = base_url
        self._topic = topic
        self._toots_wanted = toots_wanted
        self.meter = Meter()
        self.toots = 0
        self.done = threading.Event()
        self.measurement: Measurement | None = None

    def on_update(self, status: Any) -> None:
        """Extract the text with BeautifulSoup, encode, produce, flush."""
        if self.toots >= self._toots_wanted:
            return
        text = BeautifulSoup(status.content, "html.parser").text
        value = {
            "m_id": int(status.id),
            "created_at": int(status.created_at.timestamp()),
            "created_at_str": status.created_at.strftime("%Y %m %d %H:%M:%S"),
            "app": status.application.name if status.get("application") else "",
            "url": status.url,
            "base_url": self._base_url,
            "language": status.language or "",
            "favourites": status.favourites_count,
            "username": status.account.username,
            "bot": status.account.bot,
            "tags": len(status.tags),
            "characters": len(text),
            "words": len(text.split()),
            "mastodon_text": text,
        }
        context = SerializationContext(self._topic, MessageField.VALUE)
        self._producer.produce(self._topic, value=self._serializer(value, context))
        self._producer.flush()
        self.toots += 1
        if self.toots == self._toots_wanted:
            self.measurement = self.meter.stop(self.toots)
            self.done.set()


def measure_articles(toots: int) -> Measurement:
    """Measure the article's listener, on an unmodified Mastodon.py."""
    topic = f"bench-article-{time.time_ns()}"
    settings = load_settings(kafka_topic=topic)
    ensure_topics(settings, listening_topics(settings))
    with SimulatedServer(2 * toots) as simulated:  # deletes and edits lie between
        listener = ArticleListener(toots, simulated.url, topic)
        stream = Mastodon(api_base_url=simulated.url, access_token=simulated.token).stream_local(
            listener, run_async=True, timeout=30
        )
        wait_for(lambda: simulated.streams_open() > 0)
        listener.meter.start()
        simulated.start()
        listener.done.wait(300)
        stream.close()
    if listener.measurement is None:
        raise RuntimeError(f"the article's listener took {listener.toots} of {toots} toots")
    return listener.measurement


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until the condition holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
