"""The cost of a thousand streams in one listener, and its recovery when all are cut at once.

One process simulates the servers (`many_servers`), another is the listener as in a run, with a
sink that only counts; this process measures both from outside. Memory is measured relative to the
same listener with a single stream.
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import httpx
import psutil

from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import load_settings

TOKEN_VARIABLE = "MASTODON_TOKEN_MANY_STREAMS"
IDLE_SECONDS = 5.0
TRICKLE_SECONDS = 6.0


class CountingSink:
    """Counts toots and duplicates."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen: set[tuple[str, str]] = set()
        self.duplicates = self.dead = 0

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Count a toot."""
        key = record.base_url, record.status_id
        with self._lock:
            self.duplicates += key in self.seen
            self.seen.add(key)
        acknowledged()

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Count a dead letter."""
        self.dead += 1
        acknowledged()

    def poll(self) -> None:
        """Do nothing: records are acknowledged at once."""

    def close(self, timeout_seconds: float) -> None:
        """Do nothing."""


class NoPositions:
    """Saves no positions: every feed starts without one."""

    def read(self, feeds: Collection[str] = ()) -> dict[str, SavedPosition]:
        """Return no positions."""
        return {}

    def check(self) -> None:
        """Do nothing."""

    def write(self, key: str, position: SavedPosition) -> None:
        """Do nothing."""

    def write_tally(self, tally: SavedTally) -> bool:
        """Do nothing."""
        return True

    def flush(self) -> None:
        """Do nothing."""


def listen(first_port: int, servers: int) -> None:
    """Listen until SIGTERM, then print the sink's counts; runs in the listener's process."""
    sink = CountingSink()
    listener = Listener(
        [
            Server(f"http://127.0.0.1:{port}", "local", TOKEN_VARIABLE)
            for port in range(first_port + 1, first_port + 1 + servers)
        ],
        load_settings(mastodon_allow_private_addresses=True),
        sink,
        NoPositions(),
    )
    signal.signal(signal.SIGTERM, lambda *_: listener.stop())
    print(json.dumps({"at": time.monotonic()}), flush=True)
    listener.run()
    counts = {"toots": len(sink.seen), "duplicates": sink.duplicates, "dead": sink.dead}
    print(json.dumps(counts), flush=True)


@dataclass(frozen=True)
class Servers:
    """A client of the servers' control port."""

    first_port: int

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.first_port}"

    def counts(self, since: float = 0.0) -> dict[str, Any]:
        """Return open streams, published toots, and times of connection attempts since `since`."""
        answer = httpx.get(f"{self._url}/counts", params={"since": since}, timeout=30)
        counts: dict[str, Any] = answer.raise_for_status().json()
        return counts

    def publish(self, toots_per_second: float) -> None:
        """Set the rate of publication over all servers."""
        httpx.post(f"{self._url}/rate", params={"toots": toots_per_second}, timeout=30)

    def cut(self) -> float:
        """Reset every stream; return the time (`time.monotonic()`, shared by all processes)."""
        return float(httpx.post(f"{self._url}/cut", timeout=30).json()["at"])

    def wait_for_streams(self, count: int, timeout_seconds: float) -> None:
        """Wait until `count` streams are open; raises TimeoutError."""
        deadline = time.monotonic() + timeout_seconds
        while (current := self.counts(time.monotonic())["open"]) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{current} of {count} streams after {timeout_seconds:g} s")
            time.sleep(0.1)


@contextmanager
def start(*command: str) -> Iterator[subprocess.Popen[str]]:
    """Run a part of this benchmark in a separate process; terminate it at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=os.environ | {TOKEN_VARIABLE: "many-streams"},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.terminate()


def read_line(process: subprocess.Popen[str]) -> Any:
    """Read the next line of a process's output, which is JSON."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without output")
    return json.loads(line)


@dataclass(frozen=True)
class Measurement:
    """The result; times in seconds unless the name has another unit."""

    streams: int
    connected: float
    most_attempts_to_connect: int
    kb_per_stream: float
    idle_cpu_ms: float
    event_cpu_us: float
    back_95: float
    back_all: float
    most_attempts_to_return: int
    published: int
    counted: dict[str, int]
    most_at_one: int


def resident(process: subprocess.Popen[str]) -> int:
    """Return the resident memory in bytes."""
    return int(psutil.Process(process.pid).memory_info().rss)


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """Return the CPU time used so far, user and system."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def base_bytes(servers: Servers) -> int:
    """Return the memory of a listener with a single stream, in bytes."""
    with start("benchmarks.many_streams", "listen", str(servers.first_port), "1") as listener:
        read_line(listener)
        servers.wait_for_streams(1, 30)
        time.sleep(2)
        return resident(listener)


def most_in_a_second(moments: Sequence[float]) -> int:
    """Return the highest number of moments within any second."""
    most = first = 0
    ordered = sorted(moments)
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def measure(servers: Servers, streams: int, rate: float) -> Measurement:
    """Measure a listener from start to end."""
    base = base_bytes(servers)
    arguments = ("listen", str(servers.first_port), str(streams))
    with start("benchmarks.many_streams", *arguments) as listener:
        began = read_line(listener)["at"]
        servers.wait_for_streams(streams, 120)
        opened, tried = (servers.counts(began)[name] for name in ("opened", "attempts"))
        time.sleep(2)  # the first page of every timeline
        cpu = cpu_seconds(listener)
        time.sleep(IDLE_SECONDS)
        idle = (cpu_seconds(listener) - cpu) / IDLE_SECONDS
        memory = resident(listener)
        before, cpu = servers.counts()["published"], cpu_seconds(listener)
        servers.publish(rate)
        time.sleep(TRICKLE_SECONDS)
        events = servers.counts()["published"] - before
        spent = cpu_seconds(listener) - cpu - idle * TRICKLE_SECONDS
        servers.publish(rate / 10)
        cut = servers.cut()
        servers.wait_for_streams(streams, 300)
        servers.publish(0)
        after = servers.counts(cut)
        returned = sorted(after["opened"])
        time.sleep(3)  # the last pages of the gaps
        listener.terminate()
        counted = read_line(listener)
        return Measurement(
            streams,
            connected=max(opened) - began,
            most_attempts_to_connect=most_in_a_second(tried),
            kb_per_stream=(memory - base) / max(1, streams - 1) / 1024,
            idle_cpu_ms=idle * 1000,
            event_cpu_us=spent / max(1, events) * 1e6,
            back_95=returned[int(streams * 0.95) - 1] - cut,
            back_all=returned[streams - 1] - cut,
            most_attempts_to_return=most_in_a_second(after["attempts"]),
            published=after["published"],
            counted=counted,
            most_at_one=after["most_at_one"],
        )


@click.group(invoke_without_command=True)
@click.option("--streams", default=1000, show_default=True, type=click.IntRange(20, 5000))
@click.option("--rate", default=500.0, show_default=True, help="Toots per second over all servers.")
@click.option("--first-port", default=20_000, show_default=True, help="Each server needs a port.")
@click.pass_context
def bench(context: click.Context, streams: int, rate: float, first_port: int) -> None:
    """Connect a listener to many servers, publish toots, and cut all streams at once."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if context.invoked_subcommand is not None:
        return
    with start("benchmarks.many_servers", str(first_port), str(streams)) as servers:
        read_line(servers)
        result = measure(Servers(first_port), streams, rate)
    rows = [
        ("streams", f"{result.streams:,}"),
        ("all connected after", f"{result.connected:.1f} s"),
        ("most attempts in a second", f"{result.most_attempts_to_connect:,}"),
        ("memory per stream", f"{result.kb_per_stream:.0f} KB"),
        ("CPU with thumps only", f"{result.idle_cpu_ms:.1f} ms per second"),
        ("CPU per toot", f"{result.event_cpu_us:.0f} µs"),
        ("95 % back after the cut", f"{result.back_95:.1f} s"),
        ("all back after the cut", f"{result.back_all:.1f} s"),
        ("most attempts in a second", f"{result.most_attempts_to_return:,}"),
        ("streams at one server, at most", f"{result.most_at_one}"),
        ("toots published", f"{result.published:,}"),
        (
            "toots recorded",
            f"{result.counted['toots']:,}, {result.counted['duplicates']} duplicates",
        ),
    ]
    for name, value in rows:
        click.echo(f"{name:<32} {value:>20}")
    click.echo(f"BENCH listener.streams_connected_seconds {result.connected:.2f}")
    click.echo(f"BENCH listener.kb_per_stream {result.kb_per_stream:.1f}")
    click.echo(f"BENCH listener.back_95_seconds {result.back_95:.2f}")
    if (result.published, result.most_at_one) != (result.counted["toots"], 1):
        raise click.ClickException("the listener lost toots, or opened two streams to a server")


@bench.command("listen", hidden=True)
@click.argument("first_port", type=int)
@click.argument("servers", type=int)
def listen_command(first_port: int, servers: int) -> None:
    """Run the listener's process."""
    listen(first_port, servers)


if __name__ == "__main__":
    bench()
