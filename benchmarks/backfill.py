"""Ten days of hours, landed as the sink lands them, materialized in one run from the shell.

The bucket gets what ten days of listening leave there: for every commit of the sink, one in ten
seconds, a file in each hour folder of which it has toots. Then
`dagster job execute` builds the hourly tables of the whole range, with their checks, in a separate
process, as the sensor's runs do. Not `dagster asset materialize`, which also checks the ledger of
`toots`, and that waits for a Kafka.
"""

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import duckdb
import psutil

from benchmarks.generated_records import QUERY
from benchmarks.object_store import put_objects, run_object_store
from infra.native_stack.fetch import INFRA
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing.jobs import refresh_hourly_usage
from mastodon_pipeline.usage.views import open_views

COMMIT_SECONDS = 10
HOUR = timedelta(hours=1)


def landed(start: datetime, days: int, toots: int) -> Iterator[tuple[str, bytes]]:
    """Generate the landed files of these days, by the commits in which their records arrived."""
    layout = Layout.of(load_settings())
    values = {"start": start, "days": days, "toots": toots, "first": 0, "last": toots}
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as directory:
        connection.execute("SET TimeZone = 'UTC'")
        connection.sql(QUERY, params=values).create("record")
        connection.execute(
            "COPY (SELECT *, strftime(created_at, '%Y-%m-%d-%H') AS hour,"
            f" epoch(ingested_at)::BIGINT // {COMMIT_SECONDS} AS commit FROM record)"
            f" TO '{directory}' (FORMAT parquet, COMPRESSION zstd, PARTITION_BY (hour, commit),"
            " OVERWRITE)"
        )
        for path in Path(directory).glob("hour=*/commit=*/*.parquet"):
            hour, commit = (part.partition("=")[2] for part in path.parts[-3:-1])
            folder = layout.landed_hour(datetime.strptime(hour, "%Y-%m-%d-%H"))
            yield f"{folder}{commit}-{path.name}", path.read_bytes()


@dataclass(frozen=True)
class Backfill:
    """Seconds of the whole command, of each step, and of CPU, the object store's included."""

    command: float
    steps: dict[str, float]
    cpu: float


def materialize(first: datetime, last: datetime) -> Backfill:
    """Materialize a range of hours from the shell."""
    keys = first.strftime(HOUR_KEY), last.strftime(HOUR_KEY)
    with tempfile.TemporaryDirectory(prefix="mastodon-bench-") as home:
        shutil.copyfile(INFRA / "dagster" / "dagster.yaml", Path(home, "dagster.yaml"))
        began, cpu = time.perf_counter(), cpu_seconds()
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("dagster")), "job", "execute"),
                *("-m", "mastodon_pipeline.definitions", "-j", refresh_hourly_usage.name),
                *("--tags", json.dumps(dict(zip((RANGE_START, RANGE_END), keys, strict=True)))),
            ],
            cwd=REPOSITORY,
            env={**os.environ, "DAGSTER_HOME": home},
            capture_output=True,
            text=True,
        )
        seconds, cpu = time.perf_counter() - began, cpu_seconds() - cpu
    log = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(log[-3000:])
    steps = re.findall(r"(\w+) - STEP_SUCCESS - .*?in (?:(\d+)m)?([\d.]+)(ms|s)", log)
    step_seconds = {
        name: 60 * int(minutes or 0) + float(count) / (1000 if unit == "ms" else 1)
        for name, minutes, count, unit in steps
    }
    return Backfill(seconds, step_seconds, cpu)


def cpu_seconds() -> float:
    """Return what this process's children have used so far: running ones, and those that ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    running = [child.cpu_times() for child in psutil.Process().children()]
    return sum(times.user + times.system for times in running) + ended.ru_utime + ended.ru_stime


@click.command()
@click.option("--days", default=10, show_default=True)
@click.option("--toots", default=30_000, show_default=True, help="Of all days together.")
def bench(days: int, toots: int) -> None:
    """Seconds to materialize some days of hours in one run."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    start = end - timedelta(days=days)
    with run_object_store():
        os.environ["FIRST_DAY"] = f"{start - HOUR:%Y-%m-%d}"
        files = put_objects(landed(start, days, toots))
        with open_lake(load_settings()) as lake:
            lake.landed.refresh(whole=True)
            hours = lake.landed.hours_indexed_since(start)
        first, last = min(h for h in hours if h), max(h for h in hours if h)
        click.echo(f"{toots:,} toots, {files:,} landed files, {len(hours)} hours", err=True)
        backfill = materialize(first, last)
        with open_views(load_settings()) as views:
            counted = views.sql(
                "SELECT (SELECT count(*) FROM toots), (SELECT sum(toots) FROM"
                " toots_per_server_per_hour)"
            ).fetchone()
    if counted != (toots, toots):
        raise RuntimeError(f"{toots} toots landed, {counted} were counted")
    click.echo(f"\n{'':<46}{'s':>8} {'ms an hour':>12}")
    rows = [
        *backfill.steps.items(),
        ("the whole command", backfill.command),
        ("CPU time, in all", backfill.cpu),
    ]
    for name, seconds in rows:
        click.echo(f"{name:<46}{seconds:>8.1f} {1000 * seconds / len(hours):>12.0f}")
    click.echo(f"BENCH usage.backfill_{days}_days_seconds {backfill.command:.1f}")


if __name__ == "__main__":
    bench()
