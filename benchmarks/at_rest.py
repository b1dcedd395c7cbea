"""What the whole product costs at rest: CPU and memory of all its processes, and Dagster's runs.

A demo with simulated servers, a week of toots that have been counted, and one toot a second from
then on. Measured is CPU time, not a share of the clock, so other work on the machine disturbs
little. It is summed over the stack's process tree: a process' own time, and that of its children
that have ended (`cutime`). Memory is PSS: what processes share, such as a file that several map, is
counted once. Where there is no PSS (macOS), it is what belongs to a process alone.

`--attach` measures the stack of MASTODON_PIPELINE_DATA, as `make demo` leaves it.
"""

import os
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial

import click
import dagster as dg
import psutil

from benchmarks.freshness import run_product
from infra.counting import counted_toots, differing_hours
from infra.demo import observe_listeners
from infra.native_stack import Stack
from infra.native_stack.processes import marked_processes
from infra.simulated_fediverse import ServerHour
from mastodon_pipeline.event_log import open_instance

BASELINE = {
    "runs": 68.0,
    "code server": 17.0,
    "minio": 6.0,
    "dagster-daemon": 6.0,
    "kafka": 4.0,
    "connect": 2.0,
    "the rest": 1.0,
}
"""Percent of a core on 2026-11-26, when a sensor requested a run for each commit of the sink, and
webserver and daemon had a code server each."""
DAGSTER = ("runs", "code server", "dagster-daemon", "dagster-webserver")
SAMPLE_SECONDS = 5.0
NOT_OURS = "simulator"
"""The servers that the demo listens to are no part of the product."""


class Usage:
    """The CPU seconds that a stack's processes have used up to now, by part."""

    def __init__(self, stack: Stack) -> None:
        """Read them."""
        programs = {process.pid: process.name for process in stack.supervisor.processes()}
        self.own: dict[tuple[int, float], tuple[str, float]] = {}
        """By process: its part, and its own seconds."""
        self.ended: defaultdict[str, float] = defaultdict(float)
        """Of children that have ended, by their part."""
        for process in marked_processes(stack.data):
            with suppress(psutil.Error):
                part = part_of(process, programs)
                times = process.cpu_times()
                self.own[process.pid, process.create_time()] = part, times.user + times.system
                of_children = "runs" if part == "code server" else part
                self.ended[of_children] += times.children_user + times.children_system

    def since(self, earlier: "Usage") -> dict[str, float]:
        """Return the seconds by part since an earlier usage of the same stack.

        A run that lasts throughout is a listener's.
        """
        seconds = defaultdict(float, self.ended)
        for part, used in earlier.ended.items():
            seconds[part] -= used
        for process, (part, used) in self.own.items():
            lasting = part == "runs" and process in earlier.own
            seconds["listeners" if lasting else part] += used
        for process, (part, used) in earlier.own.items():
            lasting = part == "runs" and process in self.own
            seconds["listeners" if lasting else part] -= used
        return seconds


def part_of(process: psutil.Process, programs: dict[int, str]) -> str:
    """Return which part of the product a process is: a program, a code server, or a run."""
    if is_code_server(process):
        return "code server"
    ancestors = process.parents()
    if any(map(is_code_server, ancestors)):
        return "runs"
    names = (programs[each.pid] for each in (process, *ancestors) if each.pid in programs)
    return next(names, "supervisor")


def is_code_server(process: psutil.Process) -> bool:
    """Return whether this process loads the definitions for Dagster's others."""
    with suppress(psutil.Error):
        command = " ".join(process.cmdline())
        return "api grpc" in command or "code-server start" in command
    return False


def pss_bytes(stack: Stack) -> Counter[str]:
    """Return the stack's proportional memory, by part."""
    programs = {process.pid: process.name for process in stack.supervisor.processes()}
    memory: Counter[str] = Counter()
    for process in marked_processes(stack.data):
        with suppress(psutil.Error):
            full = process.memory_full_info()
            memory[part_of(process, programs)] += getattr(full, "pss", full.uss)
    del memory[NOT_OURS]
    return memory


class PeakMemory(threading.Thread):
    """Samples a stack's proportional memory until it is stopped."""

    def __init__(self, stack: Stack) -> None:
        """Start to sample."""
        super().__init__(daemon=True)
        self._stack, self._stopped = stack, threading.Event()
        self.bytes = 0
        """The most that was seen."""
        self.start()

    def run(self) -> None:
        """Sample every few seconds."""
        while not self._stopped.wait(SAMPLE_SECONDS):
            self.bytes = max(self.bytes, sum(pss_bytes(self._stack).values()))

    def stop(self) -> int:
        """Return the most that was seen, in bytes."""
        self._stopped.set()
        self.join()
        return self.bytes


def count_runs(stack: Stack, since: datetime) -> Counter[str]:
    """Return how many runs of Dagster began since a time (UTC), by job."""
    with open_instance(stack.data / "dagster") as instance:
        records = instance.get_run_records(dg.RunsFilter(created_after=since))
    return Counter(record.dagster_run.job_name for record in records)


@contextmanager
def resting_demo(
    servers: int, toots: int, hours: float, rate: float
) -> Iterator[tuple[Stack, PeakMemory]]:
    """Run the product until all toots are counted, and yield it with `rate` toots a second."""
    with run_product(servers, toots, hours) as (stack, fediverse):
        memory = PeakMemory(stack)
        wait_for(lambda: observe_listeners(fediverse)[0], 600, "a listener for every server")
        wait_for(lambda: bool(fediverse.status()["done"]), 600, "all toots to be published")
        published = fediverse.truth()
        counted = partial(all_counted, published)
        wait_for(counted, 1800, f"{sum(published.values()):,} toots to be counted")
        fediverse.publish_live(rate)
        yield stack, memory


def all_counted(published: dict[ServerHour, int]) -> bool:
    """Return whether the tables have what was published."""
    return not differing_hours(published, counted_toots())


def wait_for(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait until a condition holds. Raises ClickException if it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise click.ClickException(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(1)


@contextmanager
def running_stack() -> Iterator[tuple[Stack, PeakMemory]]:
    """Yield the stack that runs already, as `make demo` leaves it."""
    stack = Stack()
    if not stack.supervisor.running():
        raise click.ClickException(f"no stack runs in {stack.data}: make demo")
    yield stack, PeakMemory(stack)


@click.command()
@click.option("--servers", default=3, show_default=True, type=click.IntRange(1, 50))
@click.option("--toots", default=12_000, show_default=True, help="Published and counted first.")
@click.option("--hours", default=168.0, show_default=True, help="The past hours they are of.")
@click.option("--rate", default=1.0, show_default=True, help="Toots a second, in all.")
@click.option("--seconds", default=600.0, show_default=True, help="How long it is measured.")
@click.option("--warm-up", default=90.0, show_default=True, help="Seconds before that, left out.")
@click.option("--attach", is_flag=True, help="Measure the stack that runs already.")
def bench(
    servers: int,
    toots: int,
    hours: float,
    rate: float,
    seconds: float,
    warm_up: float,
    attach: bool,
) -> None:
    """CPU and memory of the whole product at one toot a second, and its runs a day."""
    demo = running_stack() if attach else resting_demo(servers, toots, hours, rate)
    with demo as (stack, sampler):
        counted = sum(pss_bytes(stack).values())
        time.sleep(0 if attach else warm_up)
        began, before = datetime.now(UTC), Usage(stack)
        start = time.monotonic()
        time.sleep(seconds)
        used = Usage(stack).since(before)
        took = time.monotonic() - start
        memory, peak = pss_bytes(stack), sampler.stop()
        runs = count_runs(stack, began)
    of_simulator = used.pop(NOT_OURS, 0.0)
    shares = {part: 100 * cpu / took for part, cpu in used.items()}
    load = os.getloadavg()[0]
    click.echo(
        f"\n{took:.0f} s at rest from {began:%H:%M} UTC, load {load:.1f} on {os.cpu_count()} cores;"
        f" the simulated servers, not counted: {100 * of_simulator / took:.1f} %"
    )
    click.echo(f"\n{'% of a core':<20} {'2026-11-26':>10} {'now':>8} {'PSS, MB':>9}")
    for part in sorted(shares.keys() | memory.keys(), key=lambda p: -shares.get(p, 0)):
        baseline = f"{BASELINE[part]:.0f}" if part in BASELINE else ""
        megabytes = memory.get(part, 0) / 1e6
        click.echo(f"{part:<20} {baseline:>10} {shares.get(part, 0):>8.1f} {megabytes:>9,.0f}")
    whole, of_dagster = sum(shares.values()), sum(shares.get(part, 0) for part in DAGSTER)
    now = sum(memory.values()) / 1e6
    click.echo(f"{'all':<20} {sum(BASELINE.values()):>10.0f} {whole:>8.1f} {now:>9,.0f}")
    by_job = ", ".join(f"{job} {count}" for job, count in runs.most_common()) or "none"
    click.echo(f"\nruns that began: {by_job}")
    click.echo(
        f"PSS: {counted / 1e6:,.0f} MB when all was counted, {now:,.0f} MB at rest, at most"
        f" {peak / 1e6:,.0f} MB while toots were counted and at rest"
    )
    click.echo(f"BENCH at_rest.core_share {whole:.1f}")
    click.echo(f"BENCH at_rest.dagster_core_share {of_dagster:.1f}")
    click.echo(f"BENCH at_rest.runs_per_day {sum(runs.values()) * 86_400 / took:.0f}")
    click.echo(f"BENCH at_rest.pss_mb {now:.0f}")
    click.echo(f"BENCH at_rest.pss_peak_mb {peak / 1e6:.0f}")


if __name__ == "__main__":
    bench()
