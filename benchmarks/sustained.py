"""Ten times the Fediverse's toots for ten minutes, through the whole product on this machine.

The Fediverse publishes some 1,000 public toots a second at its busiest. A thousand simulated
servers (`many_servers`) publish ten times as many. Listener runs of Dagster, Kafka, the sink and
the tables work as with `make up`, with default settings but for the number of listener runs. Every
ten seconds a line says how far each stage has come, and what CPU, memory and disk all of it takes.
At the end: how long the rest took, whether every toot is counted once, and which part used how much
of the CPU. The stage that falls behind is what saturates; the toots wait in front of it. In front
of the listeners they wait unpublished: a server whose stream is not read publishes no more, so
memory stays bounded. Publishing ends early once the data takes `--disk-gb`.
"""

import os
import resource
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import psutil

from benchmarks.at_rest import Usage, pss_bytes
from benchmarks.freshness import find_free_ports, run_stack
from benchmarks.many_streams import TOKEN_VARIABLE, Servers, read_line, start
from infra.counting import counted_toots
from infra.native_stack import Stack
from mastodon_pipeline.landing.sink_progress import sink_progress
from mastodon_pipeline.settings import load_settings

EVERY_SECONDS = 10.0
STAGES = ("recorded", "landed", "counted")
SIMULATOR = "simulated servers"
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
def listening_product(servers: int, groups: int) -> Iterator[tuple[Stack, Servers, psutil.Process]]:
    """Run the servers, in one process, and the product that listens to all of them."""
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
                yield stack, control, psutil.Process(process.pid)


def stored_bytes(directory: Path) -> int:
    """Return what all files below a directory take of the disk; some may be deleted meanwhile.

    Not their size: Kafka makes its indexes large and fills them later.
    """
    stored = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            with suppress(FileNotFoundError):
                stored += os.stat(os.path.join(folder, name)).st_blocks * 512
    return stored


class Watch:
    """Prints a line each time it is asked to: the stages, and what the product uses meanwhile."""

    def __init__(self, stack: Stack, control: Servers, simulator: psutil.Process) -> None:
        """Begin now."""
        self._stack, self._control, self._simulator = stack, control, simulator
        self._began = self._last = time.monotonic()
        self._before, self._simulated_before = Usage(stack), cpu_seconds(simulator)
        self._used: dict[str, float] = {}
        self.peak: Counter[str] = Counter()
        """The most memory (PSS, bytes) that each part was seen with; listeners are runs."""
        self.stored = 0
        """Bytes on disk, of everything."""
        click.echo(
            f"{'s':>6} {'published':>11} {'in Kafka':>11} {'landed':>11} {'counted':>11}"
            f" {'MB':>6} {'disk MB':>8}  % of a core"
        )

    def used(self) -> dict[str, float]:
        """Return the CPU seconds since the beginning, by part.

        Since then, as only a run that has lasted from the beginning is a listener's.
        """
        used = Usage(self._stack).since(self._before)
        used[SIMULATOR] = cpu_seconds(self._simulator) - self._simulated_before
        return used

    def line(self) -> Reached:
        """Print and return how far each stage has come; CPU is since the line before."""
        reached = Reached.now(self._control)
        used, now = self.used(), time.monotonic()
        passed = now - self._last
        shares = {
            part: 100 * (cpu - self._used.get(part, 0)) / passed for part, cpu in used.items()
        }
        self._used, self._last = used, now
        memory = pss_bytes(self._stack)
        self.peak |= memory
        self.stored = stored_bytes(self._stack.data)
        most = sorted(shares.items(), key=lambda item: -item[1])
        click.echo(
            f"{now - self._began:>6.0f} {reached.published:>11,} {reached.recorded:>11,}"
            f" {reached.landed:>11,} {reached.counted:>11,}"
            f" {sum(memory.values()) / 1e6:>6,.0f} {self.stored / 1e6:>8,.0f}"
            f"  {', '.join(f'{part} {share:.0f}' for part, share in most if share >= 2)}"
        )
        return reached


def cpu_seconds(process: psutil.Process) -> float:
    """Return the CPU seconds that a process has used."""
    times = process.cpu_times()
    return float(times.user + times.system)


@click.command()
@click.option("--rate", default=10_000.0, show_default=True, help="Toots a second, in all.")
@click.option("--seconds", default=600.0, show_default=True, help="How long they publish.")
@click.option("--servers", default=1_000, show_default=True, type=click.IntRange(1, 5_000))
@click.option("--groups", default=2, show_default=True, help="Listener runs.")
@click.option("--patience", default=3_600.0, show_default=True, help="Seconds for the rest.")
@click.option("--disk-gb", default=20.0, show_default=True, help="End publishing at so much data.")
def bench(
    rate: float, seconds: float, servers: int, groups: int, patience: float, disk_gb: float
) -> None:
    """Publish many toots a second for minutes; watch what each stage makes of them."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with listening_product(servers, groups) as (stack, control, simulator):
        watch = Watch(stack, control, simulator)
        began = time.monotonic()
        control.publish(rate)
        while time.monotonic() - began < seconds and watch.stored < disk_gb * 1e9:
            time.sleep(EVERY_SECONDS)
            watch.line()
        control.publish(0)
        ended, took = time.monotonic(), time.monotonic() - began
        used = watch.used()
        at_end = last = watch.line()
        click.echo("no more is published")
        published, withheld = last.published, control.counts(ended)["withheld"]
        stages: dict[str, float] = {}
        while True:
            for stage in STAGES:
                if getattr(last, stage) >= published:
                    stages.setdefault(stage, time.monotonic() - ended)
            if "counted" in stages or time.monotonic() - ended > patience:
                break
            time.sleep(EVERY_SECONDS)
            last = watch.line()
        stored = {name: stored_bytes(stack.data / name) for name in ("kafka", "minio")}
    click.echo(f"\n{'while publishing':<20} {'% of a core':>11} {'us a toot':>10} {'peak MB':>8}")
    for part, cpu in sorted(used.items(), key=lambda item: -item[1]):
        memory = f"{watch.peak[part] / 1e6:,.0f}" if part in watch.peak else ""
        click.echo(
            f"{part:<20} {100 * cpu / took:>11.1f} {1e6 * cpu / published:>10.1f} {memory:>8}"
        )
    click.echo(
        f"\n{published:,} toots of {servers:,} servers in {took:.0f} s, and {withheld:,} withheld"
        f" because streams were not read; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for stage in STAGES:
        count = getattr(at_end, stage)
        after = f"all {stages[stage]:.0f} s later" if stage in stages else "never all"
        click.echo(f"{stage}: {count / took:,.0f} a second while they were published, {after}")
        click.echo(f"BENCH sustained.{stage}_per_second {count / took:.0f}")
    for name, size in stored.items():
        click.echo(f"stored by {name}: {size / published:.0f} bytes a toot")
    if last.counted != published:
        raise click.ClickException(f"{published:,} toots were published, {last.counted:,} counted")


if __name__ == "__main__":
    bench()
