"""Ten times the Fediverse's toots for ten minutes, through the whole product on this machine.

The Fediverse publishes some 1,000 public toots a second at its busiest. A thousand simulated
servers (`many_servers`) publish ten times as many. Listener runs of Dagster, Kafka, the sink and
the tables work as with `make up`, with default settings but for the number of listener runs. Every
ten seconds a line says how far each stage has come. At the end: how long the rest took, whether
every toot is counted once, and which part used how much of the CPU. The stage that falls behind is
what saturates; the toots wait in front of it.
"""

import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.at_rest import Usage
from benchmarks.freshness import find_free_ports, run_stack
from benchmarks.many_streams import TOKEN_VARIABLE, Servers, read_line, start
from infra.counting import counted_toots
from infra.native_stack import Stack
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.settings import load_settings

EVERY_SECONDS = 10.0
SERVER = """
[[servers]]
url = "http://127.0.0.1:{port}"
token_env = "{token}"
"""


@dataclass(frozen=True)
class Reached:
    """How many toots each stage has had; records where a stage knows nothing of toots."""

    published: int
    recorded: int
    landed: int
    counted: int

    @classmethod
    def now(cls, servers: Servers) -> "Reached":
        """Ask every stage, the last one first: no stage is ahead of the one before it."""
        counted = sum(counted_toots().values())
        progress = sink_progress(load_settings())
        return cls(
            servers.counts(time.monotonic())["published"],
            sum(each.end for each in progress),
            sum(each.end - each.lag for each in progress),
            counted,
        )


@contextmanager
def listening_product(servers: int, groups: int) -> Iterator[tuple[Stack, Servers]]:
    """Run the servers, and the product that listens to all of them."""
    first_port = find_free_ports(servers + 1)
    with tempfile.TemporaryDirectory(prefix="mastodon-bench-") as directory:
        listed = Path(directory, "servers.toml")
        ports = range(first_port + 1, first_port + 1 + servers)
        listed.write_text("".join(SERVER.format(port=p, token=TOKEN_VARIABLE) for p in ports))
        settings = {
            "MASTODON_SERVERS_FILE": str(listed),
            "MASTODON_ALLOW_PRIVATE_ADDRESSES": "true",
            "LISTENER_GROUPS": str(groups),
            TOKEN_VARIABLE: "sustained",
        }
        with start("benchmarks.many_servers", str(first_port), str(servers)) as process:
            read_line(process)
            control = Servers(first_port)
            with run_stack(settings) as stack:
                control.wait_for_streams(servers, 300)
                yield stack, control


def stored_bytes(directory: Path) -> int:
    """Return the size of all files below a directory."""
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def report(reached: Reached, seconds: float) -> None:
    """Print how far each stage has come."""
    click.echo(
        f"{seconds:>6.0f} s {reached.published:>12,} {reached.recorded:>12,}"
        f" {reached.landed:>12,} {reached.counted:>12,}"
    )


@click.command()
@click.option("--rate", default=10_000.0, show_default=True, help="Toots a second, in all.")
@click.option("--seconds", default=600.0, show_default=True, help="How long they publish.")
@click.option("--servers", default=1_000, show_default=True, type=click.IntRange(1, 5_000))
@click.option("--groups", default=2, show_default=True, help="Listener runs.")
@click.option("--patience", default=3_600.0, show_default=True, help="Seconds for the rest.")
def bench(rate: float, seconds: float, servers: int, groups: int, patience: float) -> None:
    """Publish many toots a second for minutes; watch what each stage makes of them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with listening_product(servers, groups) as (stack, control):
        click.echo(f"{'':>8} {'published':>12} {'in Kafka':>12} {'landed':>12} {'counted':>12}")
        before, began = Usage(stack), time.monotonic()
        control.publish(rate)
        while (passed := time.monotonic() - began) < seconds:
            report(Reached.now(control), passed)
            time.sleep(EVERY_SECONDS)
        control.publish(0)
        used = Usage(stack).since(before)
        ended, took = time.monotonic(), time.monotonic() - began
        stages: dict[str, float] = {}
        published = (last := Reached.now(control)).published
        at_end = last
        while last.counted < published and time.monotonic() - ended < patience:
            for stage, count in (("recorded", last.recorded), ("landed", last.landed)):
                if count >= published:
                    stages.setdefault(stage, time.monotonic() - ended)
            time.sleep(EVERY_SECONDS)
            last = Reached.now(control)
            report(last, time.monotonic() - began)
        stages["counted"] = time.monotonic() - ended
        stored = {name: stored_bytes(stack.data / name) for name in ("kafka", "minio")}
    click.echo(f"\n{'of a core':<20} {'%':>8} {'us a toot':>10}")
    for part, cpu in sorted(used.items(), key=lambda item: -item[1]):
        click.echo(f"{part:<20} {100 * cpu / took:>8.1f} {1e6 * cpu / published:>10.1f}")
    click.echo(
        f"\n{published:,} toots of {servers:,} servers in {took:.0f} s,"
        f" load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, then"
        f" in Kafka after {stages.get('recorded', 0):.0f} s, landed"
        f" after {stages.get('landed', 0):.0f} s, counted after {stages['counted']:.0f} s"
    )
    for name, size in stored.items():
        click.echo(f"stored by {name}: {size / published:.0f} bytes a toot")
    for stage in ("recorded", "landed", "counted"):
        click.echo(f"BENCH sustained.{stage}_per_second {getattr(at_end, stage) / took:.0f}")
    if last.counted != published:
        raise click.ClickException(f"{published:,} toots were published, {last.counted:,} counted")


if __name__ == "__main__":
    bench()
