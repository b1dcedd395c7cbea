"""Time and memory of one busy day's tables: ten million toots, and 14 million records of them.

A day with a quiet night and a busy evening, in which a third of the toots is reported by a second
server, some by a third, some are edited, deleted or delivered twice, in 1,440 files. Its hourly
tables and then its daily tables and charts are built by runs of the jobs that the sensor requests,
checks included, each in a separate process, whose peak resident memory is reported; DuckDB works
within 2 GB and spills to disk. Active users are counted with 27 earlier days of two million
accounts each.
"""

import multiprocessing
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
import dagster as dg

from benchmarks.generated_records import write_records
from benchmarks.object_store import run_object_store
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import DAY_KEY, HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline.usage.tables.active_users import MONTH_DAYS

SLICES = 24 * 60
"""Files of the day, about: a commit a minute. With one in 10 s only the listing takes longer."""
ACCOUNTS = 2_000_000
"""Of each earlier day; more than all of Mastodon has on a day."""

EARLIER_ACCOUNTS = Path(__file__).with_name("earlier_accounts.sql").read_text()


@dataclass(frozen=True)
class Built:
    """A run that built a day, or its hours."""

    seconds: float
    peak_mb: float
    """The peak resident memory of its process, 10^6 bytes."""
    cpu_seconds: float
    """Of its process, user and system."""


def land(day: datetime, toots: int) -> None:
    """Land the day's records, by two writers."""

    def writer(number: int) -> None:
        with open_lake(load_settings()) as lake:
            lake.connection.execute("SET threads = 1")
            for piece in range(number, SLICES, 2):
                write_records(
                    lake.connection,
                    lake.layout.landed(),
                    start=day,
                    days=1,
                    toots=toots,
                    first=toots * piece // SLICES,
                    last=toots * (piece + 1) // SLICES,
                    by_hour=True,
                )
                if number == 0 and piece % 240 == 0:
                    click.echo(f"  landing: {100 * piece // SLICES} %", err=True)

    with ThreadPoolExecutor(2) as writers:
        for done in [writers.submit(writer, number) for number in (0, 1)]:
            done.result()


def add_earlier_accounts(day: date) -> None:
    """Write the accounts of the 27 days before, a third of three times as many each."""
    with open_lake(load_settings()) as lake:
        for ago in range(1, MONTH_DAYS):
            values = {
                "among": 3 * ACCOUNTS,
                "ago": ago,
                "path": lake.accounts(day - timedelta(ago)),
            }
            lake.connection.execute(EARLIER_ACCOUNTS, values)


def build(job_name: str, first: str, last: str) -> Built:
    """Execute one run, in this process.

    Raises RuntimeError if a check finds a fault.
    """
    with tempfile.TemporaryDirectory(prefix="mastodon-bench-") as home:
        Path(home, "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with dg.DagsterInstance.from_config(home) as instance:
            began = time.perf_counter()
            result = definitions.resolve_job_def(job_name).execute_in_process(
                run_config={"loggers": {"console": {"config": {"log_level": "WARNING"}}}},
                instance=instance,
                tags={RANGE_START: first, RANGE_END: last},
            )
            seconds = time.perf_counter() - began
    for check in result.get_asset_check_evaluations():
        if not check.passed:
            raise RuntimeError(f"{check.check_name}: {check.description}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Built(seconds, used.ru_maxrss * 1024 / 1e6, used.ru_utime + used.ru_stime)


def build_in_subprocess(job_name: str, first: str, last: str) -> Built:
    """Execute one run, in a separate process."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(build, job_name, first, last).result()


def counted_toots(day: date) -> int:
    """Return the day's toots, as the tables count them."""
    with open_lake(load_settings()) as lake:
        table = lake.connection.read_parquet(lake.layout.daily("daily_usage", day))
        row = table.select("toots").fetchone()
    return int(row[0]) if row else 0


@click.command()
@click.option("--toots", default=10_000_000, show_default=True)
def bench(toots: int) -> None:
    """Seconds and peak memory of the tables of one day of ten million toots."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    with run_object_store():
        began = time.monotonic()
        land(day, toots)
        add_earlier_accounts(day.date())
        click.echo(f"  landed in {time.monotonic() - began:.0f} s", err=True)
        keys = day.strftime(HOUR_KEY), (day + timedelta(hours=23)).strftime(HOUR_KEY)
        hours = build_in_subprocess("refresh_hourly_usage", *keys)
        daily = build_in_subprocess("refresh_daily_usage", *[day.strftime(DAY_KEY)] * 2)
        counted = counted_toots(day.date())
    if counted != toots:
        raise click.ClickException(f"{toots} toots were posted, {counted} are counted")
    click.echo(f"\n{toots:,} toots\n{'tables':<8} {'seconds':>8} {'toots/s':>10} {'peak MB':>8}")
    for name, built in (("hourly", hours), ("daily", daily)):
        click.echo(
            f"{name:<8} {built.seconds:>8.0f} {toots / built.seconds:>10,.0f} "
            f"{built.peak_mb:>8,.0f}"
        )
    click.echo(f"BENCH usage.ten_million_day_seconds {hours.seconds + daily.seconds:.0f}")
    click.echo(f"BENCH usage.ten_million_day_peak_mb {max(hours.peak_mb, daily.peak_mb):.0f}")


if __name__ == "__main__":
    bench()
