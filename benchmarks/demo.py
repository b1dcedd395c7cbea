"""How long `make demo` takes with everything downloaded, by phases, with CPU beside the clock.

The demo runs as its own process, with free ports and a new data directory; its lines mark the ends
of the phases. CPU is that of the demo, of the stack and of all their processes, ended ones too, so
other work on the machine disturbs it little; the clock counts from the command to the last line.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import click
import psutil

from benchmarks.freshness import find_free_ports
from infra.native_stack import Ports, Stack
from infra.native_stack.processes import marked_processes
from mastodon_pipeline.paths import REPOSITORY

PHASES = (
    ("the command's own start", r"starting the stack"),
    ("stack and Dagster ready", r" *all ready after"),
    ("a listener for every server", r" +Dagster listens to .*s\)$"),
    # Until all are: the same lines say now and then how far it is.
    ("publishing", r" +published ([\d,]+) of \1 toots"),
    ("landing and counting", r" +counted ([\d,]+) of \1 toots"),
    ("comparing, last line", r"Dagster's UI"),
)
"""What a phase is called, and the line that ends it."""
BASELINE_CPU = (3.0, 32.0, 10.0, 17.0, 307.0, 16.0)
"""CPU seconds of these phases on 2026-11-26, when the demo had 240 hours, counted by twelve runs,
Dagster's events were written one by one, and processes compiled their modules again."""
BASELINE_SECONDS = "2 to 3.5 min"
"""Of the whole, on two idle cores."""


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of a phase: seconds since the command, and of CPU so far."""

    seconds: float
    cpu: float


def run_demo(toots: int, hours: float) -> list[Mark]:
    """Run the demo, stop it again, and return the ends of its phases.

    Raises ClickException if it fails.
    """
    data = Path(tempfile.mkdtemp(prefix="mastodon-bench-")).resolve()
    ports = Ports.free()
    names = (field.name.upper() for field in fields(ports))
    first = find_free_ports(4)
    environment = {
        **os.environ,
        **{name: str(port) for name, port in zip(names, astuple(ports), strict=True)},
        "MASTODON_PIPELINE_DATA": str(data),
        "SIMULATOR_CONTROL_PORT": str(first),
        "SIMULATOR_PORT": str(first + 1),
        "PYTHONUNBUFFERED": "1",
    }
    command = [
        *(sys.executable, "-m", "infra.demo"),
        *("--toots", str(toots), "--hours", str(hours), "--live", "0"),
    ]
    marks: list[Mark] = []
    began = time.monotonic()
    try:
        with subprocess.Popen(
            command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, text=True
        ) as process:
            for line in process.stdout or ():
                click.echo(f"{time.monotonic() - began:6.1f}  {line}", nl=False, err=True)
                if len(marks) < len(PHASES) and re.match(PHASES[len(marks)][1], line):
                    marks.append(Mark(time.monotonic() - began, cpu_seconds(data, process.pid)))
        if process.returncode or len(marks) < len(PHASES):
            raise click.ClickException(f"the demo ended with {process.returncode}")
    finally:
        Stack(data=data, ports=ports, say=lambda _: None).down()
        shutil.rmtree(data, ignore_errors=True)
    return marks


def cpu_seconds(data: Path, demo: int) -> float:
    """Return what the stack's processes and the demo have used, their ended children included."""
    seconds = 0.0
    for process in [*marked_processes(data), psutil.Process(demo)]:
        with suppress(psutil.Error):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


@click.command()
@click.option("--toots", default=12_000, show_default=True)
@click.option("--hours", default=168.0, show_default=True, help="The past hours they are of.")
def bench(toots: int, hours: float) -> None:
    """Seconds of `make demo`, warm, and of its phases."""
    # Whatever is missing in the cache is not part of it.
    Stack(say=lambda text: click.echo(text, err=True)).fetch()
    load = os.getloadavg()[0]
    marks = run_demo(toots, hours)
    click.echo(
        f"\nload {load:.1f} before, {os.getloadavg()[0]:.1f} after, on {os.cpu_count()} cores"
    )
    click.echo(f"\n{'':<30} {'s':>7} {'CPU s':>7} {'CPU s, 2026-11-26':>18}")
    last = Mark(0.0, 0.0)
    for (name, _), mark, baseline in zip(PHASES, marks, BASELINE_CPU, strict=True):
        seconds, cpu = mark.seconds - last.seconds, mark.cpu - last.cpu
        click.echo(f"{name:<30} {seconds:>7.1f} {cpu:>7.1f} {baseline:>18.0f}")
        last = mark
    click.echo(f"{'all':<30} {last.seconds:>7.1f} {last.cpu:>7.1f} {sum(BASELINE_CPU):>18.0f}")
    click.echo(f"{'all, 2026-11-26':<30} {BASELINE_SECONDS:>7}")
    counting = marks[4].seconds - marks[3].seconds
    click.echo(f"BENCH demo.warm_seconds {last.seconds:.1f}")
    click.echo(f"BENCH demo.counting_seconds {counting:.1f}")
    click.echo(f"BENCH demo.cpu_seconds {last.cpu:.1f}")


if __name__ == "__main__":
    bench()
