"""From what size of an hour one machine's DuckDB is the wrong tool: its tables by its toots.

An hour of each size is landed in 60 files, and its tables are built by the run that the sensor
requests, checks included, in a separate process with DuckDB's memory as the settings have it. Time
grows with the toots: an hour that takes longer to build than to pass is too big. Beside it, a
question of the article over the hour's `toots`, as an analyst asks it. CPU is that of the run, and
of the question; other work on the machine disturbs it less than the time.
"""

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import click

from benchmarks.generated_records import write_records
from benchmarks.object_store import run_object_store
from benchmarks.usage_busy_day import build_in_subprocess
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import HOUR_KEY

FILES = 60
"""Of an hour: a commit a minute."""
HOUR = timedelta(hours=1)
QUESTION = """
    SELECT language, avg(words), count(*) FROM read_parquet($toots)
    GROUP BY language HAVING count(*) > 100 ORDER BY 2 DESC
"""


def land(hour: datetime, toots: int) -> int:
    """Land an hour's records; return their bytes."""
    with open_lake(load_settings()) as lake:
        for piece in range(FILES):
            write_records(
                lake.connection,
                f"{lake.layout.landed_hour(hour)}{piece:02}.parquet",
                start=hour,
                days=1 / 24,
                toots=toots,
                first=toots * piece // FILES,
                last=toots * (piece + 1) // FILES,
            )
        return sum(file.size for file in lake.list_files(lake.layout.landed_hour(hour)))


@dataclass(frozen=True)
class Answered:
    """A question that was asked, and what it is asked of."""

    seconds: float
    cpu_seconds: float
    table_bytes: int


def ask(hour: datetime) -> Answered:
    """Ask the question of the hour's `toots`, in this process."""
    with open_lake(load_settings()) as lake:
        size = sum(file.size for file in lake.list_files(lake.layout.toots(hour)))
        began, cpu = time.perf_counter(), time.process_time()
        lake.connection.execute(QUESTION, {"toots": lake.layout.toots(hour)}).fetchall()
        return Answered(time.perf_counter() - began, time.process_time() - cpu, size)


@click.command()
@click.option("--toots", default="100000,1000000,4000000", show_default=True, help="Sizes.")
def bench(toots: str) -> None:
    """Seconds and peak memory of the tables of one hour, by the toots in it."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    click.echo(
        f"{'toots':>12} {'MB landed':>10} {'MB toots':>9} {'s':>8} {'CPU s':>8} {'us/toot':>8}"
        f" {'peak MB':>8} {'question s':>11} {'CPU s':>7} {'load':>6}"
    )
    for size in map(int, toots.split(",")):
        with run_object_store():
            landed, key = land(hour, size), hour.strftime(HOUR_KEY)
            built = build_in_subprocess("refresh_hourly_usage", key, key)
            answered = ask(hour)
        click.echo(
            f"{size:>12,} {landed / 1e6:>10,.0f} {answered.table_bytes / 1e6:>9,.0f}"
            f" {built.seconds:>8.1f} {built.cpu_seconds:>8.1f}"
            f" {1e6 * built.cpu_seconds / size:>8.1f} {built.peak_mb:>8,.0f}"
            f" {answered.seconds:>11.2f} {answered.cpu_seconds:>7.2f} {os.getloadavg()[0]:>6.1f}"
        )
    click.echo(f"BENCH usage.hour_toots_per_second {size / built.seconds:.0f}")
    click.echo(f"BENCH usage.hour_toots_per_cpu_second {size / built.cpu_seconds:.0f}")
    click.echo(f"BENCH usage.hour_peak_mb {built.peak_mb:.0f}")


if __name__ == "__main__":
    bench()
