"""From what size of an hour one machine's DuckDB is the wrong tool: its tables by its toots.

An hour of each size is landed in 60 files, and its tables are built by the run that the sensor
requests, checks included, in a separate process with DuckDB's memory as the settings have it. Time
grows with the toots: an hour that takes longer to build than to pass is too big. Beside it, a
question of the article over the hour's `toots`, as an analyst asks it.
"""

import os
import time
from datetime import UTC, datetime, timedelta

import click

from benchmarks.generated_records import write_records
from benchmarks.object_store import run_object_store
from benchmarks.usage_busy_day import Built, build_in_subprocess
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


def ask(hour: datetime) -> float:
    """Return the seconds that the question takes."""
    with open_lake(load_settings()) as lake:
        began = time.perf_counter()
        lake.connection.execute(QUESTION, {"toots": lake.layout.toots(hour)}).fetchall()
        return time.perf_counter() - began


@click.command()
@click.option("--toots", default="100000,1000000,4000000", show_default=True, help="Sizes.")
def bench(toots: str) -> None:
    """Seconds and peak memory of the tables of one hour, by the toots in it."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    rows: list[tuple[int, int, Built, float]] = []
    for size in map(int, toots.split(",")):
        with run_object_store():
            landed, key = land(hour, size), hour.strftime(HOUR_KEY)
            click.echo(f"  {size:,} toots have landed", err=True)
            built = build_in_subprocess("refresh_hourly_usage", key, key)
            rows.append((size, landed, built, ask(hour)))
    click.echo(f"\nload {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    click.echo(
        f"{'toots':>12} {'MB landed':>10} {'s':>8} {'toots/s':>10} {'peak MB':>8}"
        f" {'question s':>11}"
    )
    for size, landed, built, asked in rows:
        click.echo(
            f"{size:>12,} {landed / 1e6:>10,.0f} {built.seconds:>8.1f}"
            f" {size / built.seconds:>10,.0f} {built.peak_mb:>8,.0f} {asked:>11.2f}"
        )
    size, _, built, _ = rows[-1]
    click.echo(f"BENCH usage.hour_toots_per_second {size / built.seconds:.0f}")
    click.echo(f"BENCH usage.hour_peak_mb {built.peak_mb:.0f}")


if __name__ == "__main__":
    bench()
