"""Two listeners from a simulated server's stream into Kafka: ours, and the article's way.

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
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from mastodon import Mastodon, StreamListener

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.listening.topic.opening import open_listener
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
class Taken:
    """What a listener took, and what it cost."""

    toots: int
    cpu_seconds: float
    """Of the whole process, librdkafka's threads included."""
    seconds: float

    @property
    def per_core(self) -> float:
        """Toots by CPU second."""
        return self.toots / self.cpu_seconds

    @property
    def microseconds(self) -> float:
        """CPU microseconds a toot."""
        return self.cpu_seconds / self.toots * 1e6


class Meter:
    """CPU and clock from the first toot to the last."""

    def __init__(self) -> None:
        self._cpu = self._clock = 0.0

    def begin(self) -> None:
        """The first toot is about to come."""
        self._cpu, self._clock = time.process_time(), time.perf_counter()

    def taken(self, toots: int) -> Taken:
        """That was the last."""
        return Taken(toots, time.process_time() - self._cpu, time.perf_counter() - self._clock)


class SimulatedServer:
    """A server that streams so many toots at once when told; a context manager."""

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
            stderr=subprocess.DEVNULL,  # It complains of every client that leaves a stream.
        )
        wait_for(self._answers)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._control.close()

    def start(self) -> None:
        """Publishes all at once."""
        self._control.post("/start").raise_for_status()

    def streams_open(self) -> int:
        """How many listen."""
        return int(self._control.get("/status").json()["servers"][0]["streams_open"])

    def _answers(self) -> bool:
        try:
            return self._control.get("/status").is_success
        except httpx.HTTPError:
            return False


def ours(toots: int) -> Taken:
    """Our listener, whole: what a listener run does, discovery to saved positions."""
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
        meter.begin()
        simulated.start()
        wait_for(lambda: statistics.toots >= toots, seconds=300)
        listener.stop()
        thread.join()  # flushed, acknowledged, positions saved: all of it counts
        return meter.taken(statistics.toots)


class ArticleListener(StreamListener):
    """The article's: everything for one toot before the next, down to the flush."""

    def __init__(self, wanted: int, base_url: str, topic: str) -> None:
        settings = load_settings()
        registry = SchemaRegistryClient({"url": settings.schema_registry_url})
        self._serializer = AvroSerializer(registry, ARTICLE_SCHEMA)
        self._producer = Producer(settings.kafka_client_config())
        self._base_url = base_url
        self._topic = topic
        self._wanted = wanted
        self.meter = Meter()
        self.toots = 0
        self.done = threading.Event()
        self.taken: Taken | None = None

    def on_update(self, status: Any) -> None:
        """Text by BeautifulSoup, a dict, Avro, produce, flush."""
        if self.toots >= self._wanted:
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
        if self.toots == self._wanted:
            self.taken = self.meter.taken(self.toots)
            self.done.set()


def the_articles(toots: int) -> Taken:
    """The article's listener, by Mastodon.py as it comes."""
    topic = f"bench-article-{time.time_ns()}"
    settings = load_settings(kafka_topic=topic)
    ensure_topics(settings, listening_topics(settings))
    with SimulatedServer(2 * toots) as simulated:  # deletes and edits lie between
        listener = ArticleListener(toots, simulated.url, topic)
        stream = Mastodon(api_base_url=simulated.url, access_token=simulated.token).stream_local(
            listener, run_async=True, timeout=30
        )
        wait_for(lambda: simulated.streams_open() > 0)
        listener.meter.begin()
        simulated.start()
        listener.done.wait(300)
        stream.close()
    if listener.taken is None:
        raise RuntimeError(f"the article's listener took {listener.toots} of {toots} toots")
    return listener.taken


def wait_for(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Returns when it holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(0.1)


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
