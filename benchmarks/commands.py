"""How much CPU a person waits for at the prompt: every help text, and a question to the lake.

The baseline is what any of them would cost if it imported Dagster. The lake has a file of every
table, in MinIO; the CPU is that of the command's process, user and system, with MinIO's left out.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import click

from benchmarks.object_store import run_object_store
from mastodon_pipeline.cli.main import COMMANDS
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.views import table_folders

PROGRAM = str(Path(sys.executable).with_name("mastodon-pipeline"))
BASELINE = "import dagster"
HELPS = {
    f"{' '.join(command)} --help".strip(): [PROGRAM, *command, "--help"]
    for command in ((), *((name,) for name in sorted(COMMANDS)))
}
QUERY = 'sql "SELECT 1"'
MEASURED: dict[str, list[str]] = {
    BASELINE: [sys.executable, "-c", BASELINE],
    **HELPS,
    QUERY: [PROGRAM, "sql", "SELECT 1"],
    'sql "SELECT count(*) FROM toots"': [PROGRAM, "sql", "SELECT count(*) FROM toots"],
}


class Cost(NamedTuple):
    """Seconds that a process takes."""

    cpu: float
    clock: float


def cost(command: Sequence[str]) -> Cost:
    """Run a command once. Raises CalledProcessError if it fails."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, clock = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(cpu, clock)


def write_tables() -> None:
    """Write a file of every table, with the record's columns."""
    with open_lake(load_settings()) as lake:
        rows = lake.connection.read_parquet(lake.empty_record)
        for folder in table_folders(lake.layout).values():
            rows.write_parquet(f"{folder}day=2026-11-24/hour=15/table.parquet")


@click.command()
@click.option("--runs", default=5, show_default=True, type=click.IntRange(1), help="Of each.")
def bench(runs: int) -> None:
    """CPU seconds of `--help` and `sql`, against importing Dagster."""
    with run_object_store():
        write_tables()
        # In turn, so that whatever else the machine does meets all of them alike.
        rounds = [{name: cost(command) for name, command in MEASURED.items()} for _ in range(runs)]
    medians = {
        name: Cost(
            *(statistics.median(values) for values in zip(*(r[name] for r in rounds), strict=True))
        )
        for name in MEASURED
    }
    click.echo(f"\n{'':<34}{'CPU s':>8}{'clock s':>9}{'of the baseline':>17}")
    for name, (cpu, clock) in medians.items():
        share = cpu / medians[BASELINE].cpu
        click.echo(f"{name:<34}{cpu:>8.3f}{clock:>9.3f}{share:>17.0%}")
    click.echo(f"BENCH cli.help_cpu_seconds {max(medians[name].cpu for name in HELPS):.3f}")
    click.echo(f"BENCH cli.sql_cpu_seconds {medians[QUERY].cpu:.3f}")


if __name__ == "__main__":
    bench()
