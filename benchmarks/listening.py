"""How many toots a second one core takes from a stream into Kafka, against the article's listener.

Both follow the same simulated server (a process of its own, on loopback, with Mastodon's framing:
two HTTP chunks an event) into the same real broker and registry:

- ours: what a listener run does, discovery to saved positions;
- the article's way, written here from its description: Mastodon.py's stock listener, BeautifulSoup
  for the text, Confluent's AvroSerializer, and a flush after every toot.

A core's worth is toots by CPU second of the listening process, librdkafka's threads included; the
clock tells the same with the server and the broker sharing the machine's cores.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import httpx
import psutil
from bs4 import BeautifulSoup
from confluent_kafka import Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # NewTopic lacks in its __all__
    AdminClient,
    NewTopic,
)
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from mastodon import Mastodon, StreamListener

from benchmarks.native_stack import a_native_stack
from mastodon_pipeline.listening.kafka_listener import kafka_listener
from mastodon_pipeline.settings import REPOSITORY, load_settings, parse_server

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
    seconds: float

    @property
    def per_core(self) -> float:
        """Toots by CPU second."""
        return self.toots / self.cpu_seconds


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


@contextmanager
def simulated_server(toots: int) -> Iterator[tuple[str, str, str]]:
    """A server that streams so many toots at once when told; its URL, token and control port."""
    port, control = free_ports()
    token = "benchmark"
    command = [
        *(sys.executable, "-m", "mastodon_pipeline_tests.simulator", "--servers", "1"),
        *("--toots", str(toots), "--speed", "inf", "--start", "control"),
        *("--first-port", str(port), "--control-port", str(control)),
    ]
    environment = {f"MASTODON_TOKEN_127_0_0_1_{port}": token}
    with subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=dict(psutil.Process().environ(), **environment),
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{control}/status"))
            yield f"http://127.0.0.1:{port}", token, f"http://127.0.0.1:{control}"
        finally:
            process.terminate()


def ours(toots: int) -> Taken:
    """Our listener, whole."""
    with simulated_server(toots) as (url, token, control):
        server = parse_server(url)
        os.environ[server.token_env] = token
        settings = load_settings(
            mastodon_allow_private_addresses=True, kafka_topic=f"bench-{int(time.time())}"
        )
        listener = kafka_listener([server], settings)
        thread = threading.Thread(target=listener.run)
        thread.start()
        statistics = listener.statistics[0]
        wait_for(lambda: statistics.state == "streaming")
        meter = Meter()
        meter.begin()
        httpx.post(f"{control}/start")
        wait_for(lambda: statistics.toots >= toots, seconds=300, pause=0.02)
        listener.stop()
        thread.join()  # flushed, acknowledged, positions saved: all of it counts
        return meter.taken(statistics.toots)


class ArticleListener(StreamListener):
    """The article's: everything for one toot before the next, down to the flush."""

    def __init__(self, wanted: int, base_url: str) -> None:
        settings = load_settings()
        registry = SchemaRegistryClient({"url": settings.schema_registry_url})
        self._serializer = AvroSerializer(registry, ARTICLE_SCHEMA)
        self._producer = Producer(settings.kafka_client_config())
        self._base_url = base_url
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
        context = SerializationContext("bench-article", MessageField.VALUE)
        self._producer.produce("bench-article", value=self._serializer(value, context))
        self._producer.flush()
        self.toots += 1
        if self.toots == self._wanted:
            self.taken = self.meter.taken(self.toots)
            self.done.set()


def the_articles(toots: int) -> Taken:
    """The article's listener, by Mastodon.py as it comes."""
    admin = AdminClient({**load_settings().kafka_client_config()})
    for made in admin.create_topics([NewTopic("bench-article", num_partitions=1)]).values():
        made.result(15)
    with simulated_server(2 * toots) as (url, token, control):  # deletes and edits lie between
        listener = ArticleListener(toots, url)
        stream = Mastodon(api_base_url=url, access_token=token).stream_local(
            listener, run_async=True, timeout=30
        )
        wait_for(lambda: httpx.get(f"{control}/status").json()["servers"][0]["streams_open"] > 0)
        listener.meter.begin()
        httpx.post(f"{control}/start")
        listener.done.wait(300)
        stream.close()
    if listener.taken is None:
        raise RuntimeError(f"the article's listener took {listener.toots} of {toots} toots")
    return listener.taken


def wait_for(holds: Callable[[], bool], seconds: float = 60, pause: float = 0.1) -> None:
    """Returns when it holds. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds} s")
        time.sleep(pause)


def answers(url: str) -> bool:
    """Whether somebody answers there."""
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def free_ports() -> tuple[int, int]:
    """Two that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@click.command()
@click.option("--toots", default=60_000, show_default=True, help="For our listener.")
@click.option("--article-toots", default=1_000, show_default=True, help="For the article's.")
def bench(toots: int, article_toots: int) -> None:
    """Toots a second and core from stream to Kafka: ours against the article's listener."""
    with a_native_stack():
        article, own = the_articles(article_toots), ours(toots)
    click.echo(f"\n{'listener':<12} {'toots':>8} {'CPU s':>8} {'clock s':>8} {'toots/s/core':>13}")
    for name, taken in (("article", article), ("ours", own)):
        click.echo(
            f"{name:<12} {taken.toots:>8,} {taken.cpu_seconds:>8.2f} {taken.seconds:>8.2f} "
            f"{taken.per_core:>13,.0f}"
        )
    click.echo(f"BENCH listener.toots_per_core {own.per_core:.0f}")
    click.echo(f"BENCH listener.ratio_vs_article {own.per_core / article.per_core:.0f}")


if __name__ == "__main__":
    bench()
