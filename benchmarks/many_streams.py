"""What a thousand streams cost one listener, and how it comes back when all are cut at once.

A process of its own simulates the servers (`many_servers`), another is the listener as a run has
it, with a sink that only counts; this one measures both from outside. Memory is counted over the
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
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import click
import httpx
import psutil

from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import load_settings

TOKEN_VARIABLE = "MASTODON_TOKEN_MANY_STREAMS"
IDLE_SECONDS = 5.0
TRICKLE_SECONDS = 6.0


class CountingSink:
    """Counts toots, and which of them came more than once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.seen: set[tuple[str, str]] = set()
        self.again = self.dead = 0

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Counts it."""
        key = record.base_url, record.status_id
        with self._lock:
            self.again += key in self.seen
            self.seen.add(key)
        acknowledged()

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Counts it."""
        self.dead += 1
        acknowledged()

    def poll(self) -> None:
        """Nothing is ever on its way."""

    def close(self, timeout_seconds: float) -> None:
        """Nothing to wait for."""


class NoPositions:
    """Every feed begins anew."""

    def read(self) -> dict[str, SavedPosition]:
        """None."""
        return {}

    def write(self, key: str, position: SavedPosition) -> None:
        """Forgotten."""

    def flush(self) -> None:
        """Nothing to wait for."""


def listen(first_port: int, servers: int) -> None:
    """The listener's process: listens until SIGTERM, then prints what it has counted."""
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
    print(json.dumps({"toots": len(sink.seen), "again": sink.again, "dead": sink.dead}), flush=True)


@dataclass(frozen=True)
class Servers:
    """The servers' process, as its control port shows it."""

    first_port: int

    @property
    def _url(self) -> str:
        return f"http://127.0.0.1:{self.first_port}"

    def counts(self, since: float = 0.0) -> dict[str, Any]:
        """How many streams are open, what was published, and when streams were asked for."""
        answer = httpx.get(f"{self._url}/counts", params={"since": since}, timeout=30)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def publish(self, toots_a_second: float) -> None:
        """From now on."""
        httpx.post(f"{self._url}/rate", params={"toots": toots_a_second}, timeout=30)

    def cut(self) -> float:
        """Resets every stream; when (`time.monotonic()`, the same in all processes here)."""
        return float(httpx.post(f"{self._url}/cut", timeout=30).json()["at"])

    def wait_for_streams(self, wanted: int, seconds: float) -> None:
        """Returns when so many are open. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while (found := self.counts(time.monotonic())["open"]) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {wanted} streams after {seconds:g} s")
            time.sleep(0.1)


@contextmanager
def process(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A part of this benchmark in a process of its own; terminated at the end."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=REPOSITORY,
        env=os.environ | {TOKEN_VARIABLE: "many-streams"},
        stdout=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            started.terminate()


def told(process: subprocess.Popen[str]) -> Any:
    """The next line of its output."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{process.args!r} ended without a word")
    return json.loads(line)


@dataclass(frozen=True)
class Measured:
    """What was seen; times in seconds."""

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
    """Bytes of memory that are in use now."""
    return int(psutil.Process(process.pid).memory_info().rss)


def cpu_seconds(process: subprocess.Popen[str]) -> float:
    """What it has used so far, user and system."""
    times = psutil.Process(process.pid).cpu_times()
    return float(times.user + times.system)


def base_bytes(servers: Servers) -> int:
    """A listener with one stream that has settled."""
    with process("benchmarks.many_streams", "listen", str(servers.first_port), "1") as listener:
        told(listener)
        servers.wait_for_streams(1, 30)
        time.sleep(2)
        return resident(listener)


def most_in_a_second(moments: Sequence[float]) -> int:
    """The highest number of them within any one second."""
    most = first = 0
    ordered = sorted(moments)
    for last, moment in enumerate(ordered):
        while moment - ordered[first] > 1:
            first += 1
        most = max(most, last - first + 1)
    return most


def measure(servers: Servers, streams: int, rate: float) -> Measured:
    """One listener from its start to its end."""
    base = base_bytes(servers)
    arguments = ("listen", str(servers.first_port), str(streams))
    with process("benchmarks.many_streams", *arguments) as listener:
        began = told(listener)["at"]
        servers.wait_for_streams(streams, 120)
        opened, tried = (servers.counts(began)[name] for name in ("opened", "attempts"))
        time.sleep(2)  # the first pages of every timeline
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
        time.sleep(3)  # the gaps' last pages
        listener.terminate()
        counted = told(listener)
        return Measured(
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
@click.option("--rate", default=500.0, show_default=True, help="Toots a second over all servers.")
@click.option("--first-port", default=20_000, show_default=True, help="They need one port each.")
@click.pass_context
def bench(context: click.Context, streams: int, rate: float, first_port: int) -> None:
    """Connects a listener to many servers, lets them talk, and cuts them off all at once."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if context.invoked_subcommand is not None:
        return
    with process("benchmarks.many_servers", str(first_port), str(streams)) as running:
        told(running)
        found = measure(Servers(first_port), streams, rate)
    rows = [
        ("streams", f"{found.streams:,}"),
        ("all connected after", f"{found.connected:.1f} s"),
        ("most attempts in a second", f"{found.most_attempts_to_connect:,}"),
        ("memory a stream", f"{found.kb_per_stream:.0f} KB"),
        ("CPU, nothing but thumps", f"{found.idle_cpu_ms:.1f} ms a second"),
        ("CPU a toot", f"{found.event_cpu_us:.0f} µs"),
        ("95 % back after the cut", f"{found.back_95:.1f} s"),
        ("all back after the cut", f"{found.back_all:.1f} s"),
        ("most attempts in a second", f"{found.most_attempts_to_return:,}"),
        ("streams at one server, at most", f"{found.most_at_one}"),
        ("toots published", f"{found.published:,}"),
        ("toots recorded", f"{found.counted['toots']:,}, {found.counted['again']} of them again"),
    ]
    for name, value in rows:
        click.echo(f"{name:<32} {value:>20}")
    click.echo(f"BENCH listener.streams_connected_seconds {found.connected:.2f}")
    click.echo(f"BENCH listener.kb_per_stream {found.kb_per_stream:.1f}")
    click.echo(f"BENCH listener.back_95_seconds {found.back_95:.2f}")
    if (found.published, found.most_at_one) != (found.counted["toots"], 1):
        raise click.ClickException("the listener lost toots, or opened two streams to a server")


@bench.command("listen", hidden=True)
@click.argument("first_port", type=int)
@click.argument("servers", type=int)
def listen_command(first_port: int, servers: int) -> None:
    """The listener's process."""
    listen(first_port, servers)


if __name__ == "__main__":
    bench()
