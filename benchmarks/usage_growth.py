"""What a refresh of the current hour costs with 10, 100 and 1,000 days of history in the bucket.

A refresh is what a tick of the sensor does at rest: it builds `toots` and
`toots_per_server_per_hour` of the running hour after another commit, and checks them. Beside it, a
run of `refresh_hourly_usage`, which does the same in a Dagster with a partition for every hour of
the history. Also measured is what the sensor does to find the hour: its scan and its decision, for
a whole sweep through the history. Other work on the machine only adds to a time, so the quickest of
the repetitions is the cost.

An hour of history is a landed file, its `toots` and its counts, small and all alike: none of them
is read. The current hour has the files of half an hour of commits.
"""

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from uuid import uuid4

import click
import dagster as dg
import duckdb
import psutil

from benchmarks.generated_records import write_records
from benchmarks.object_store import put_objects, run_object_store
from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing.freshness import Cursor, scan
from mastodon_pipeline.usage.refreshing.in_tick import HourBuilder
from mastodon_pipeline.usage.refreshing.sensor import run_requests
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server

HOUR = timedelta(hours=1)
FILES, TOOTS_A_FILE = 180, 100
"""Of the current hour."""
QUIET = {"loggers": {"console": {"config": {"log_level": "WARNING"}}}}


@dataclass(frozen=True)
class Times:
    """Seconds, of each repetition."""

    refreshes: list[float]
    cpu: list[float]
    """Of these, of the run's process and the object store's together."""
    scans: list[float]
    ticks: list[float]
    """CPU seconds of ticks that build the hour, of this process and the object store's."""


@dataclass(frozen=True)
class Templates:
    """An hour's files, and the fingerprint that its tables carry."""

    landed: bytes
    toots: bytes
    counts: bytes
    built_from: bytes

    def hour(self, hour: datetime) -> Iterator[tuple[str, bytes]]:
        """Generate the files of another hour, whose counts are current too."""
        layout = Layout.of(load_settings())
        path = f"{layout.landed_hour(hour)}a.parquet"
        etag = f'"{md5(self.landed, usedforsecurity=False).hexdigest()}"'
        file = StoredFile(path, etag, hour, len(self.landed))
        built_from = fingerprint([file]).encode()
        yield path, self.landed
        yield layout.toots(hour), self.toots.replace(self.built_from, built_from)
        yield layout.toots_per_server(hour), self.counts.replace(self.built_from, built_from)


def templates(hour: datetime) -> Templates:
    """Build the files of an hour of 20 toots."""
    with open_lake(load_settings()) as lake:
        landed = f"{lake.layout.landed_hour(hour)}a.parquet"
        write_records(lake.connection, landed, start=hour, days=1 / 24, toots=20)
        paths = [landed, build_toots(lake, hour).path, build_toots_per_server(lake, hour).path]
        bodies = [
            bytes(content)
            for path in paths
            for (content,) in lake.connection.sql(
                "SELECT content FROM read_blob($path)", params={"path": path}
            ).fetchall()
        ]
        built_from = lake.built_from([paths[1]])[paths[1]].encode()
    return Templates(bodies[0], bodies[1], bodies[2], built_from)


def current_hour(hour: datetime, files: int = FILES) -> Iterator[tuple[str, bytes]]:
    """Generate what has landed in the current hour so far: this many files of it."""
    layout = Layout.of(load_settings())
    with duckdb.connect() as connection, tempfile.TemporaryDirectory() as directory:
        connection.execute("SET TimeZone = 'UTC'")
        for number in range(files):
            path = Path(directory, "records.parquet")
            write_records(
                connection,
                str(path),
                start=hour,
                days=1 / 24,
                toots=2 * FILES * TOOTS_A_FILE,
                first=number * TOOTS_A_FILE,
                last=(number + 1) * TOOTS_A_FILE,
            )
            yield f"{layout.landed_hour(hour)}{number:05}.parquet", path.read_bytes()


def measure(hour: datetime, repetitions: int, store: int) -> Times:
    """Measure refreshes of the current hour, and a sweep of scans."""
    key = hour.strftime(HOUR_KEY)
    job = definitions.resolve_job_def("refresh_hourly_usage")
    with tempfile.TemporaryDirectory(prefix="mastodon-bench-") as home:
        Path(home, "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        with dg.DagsterInstance.from_config(home) as instance:

            def refresh() -> None:
                tags = {RANGE_START: key, RANGE_END: key}
                job.execute_in_process(run_config=QUIET, instance=instance, tags=tags)

            refresh()  # the first makes Dagster's tables
            refreshes, cpu = [], []
            for _ in range(repetitions):
                began = cpu_seconds(store)
                refreshes.append(timed(refresh))
                cpu.append(cpu_seconds(store) - began)
            # The history was settled before the current hour began.
            cursors = [Cursor(horizon=datetime.now(UTC) - timedelta(seconds=1))]

            def evaluation() -> None:
                now = datetime.now(UTC)
                with LakeResource().open() as lake:
                    freshness = scan(lake, cursors[-1], now, load_settings().first_day)
                run_requests(instance, freshness, now)
                cursors.append(freshness.cursor)

            scans = [timed(evaluation)]
            while cursors[-1].after:
                scans.append(timed(evaluation))
            ticks = []
            for number, (path, body) in enumerate(current_hour(hour, repetitions + 1)):
                put_objects([(path.replace(".parquet", f"-{uuid4().hex}.parquet"), body)])
                began = cpu_seconds(store)
                with LakeResource().standing() as lake:
                    now = datetime.now(UTC)
                    freshness = scan(lake, cursors[-1], now, load_settings().first_day)
                    tick = HourBuilder().build(lake, freshness, now, lambda _: True)
                if tick.built != [hour]:
                    raise RuntimeError(f"the tick built {tick.built}: {tick.failures}")
                if number:  # the first fetches all that has landed
                    ticks.append(cpu_seconds(store) - began)
    return Times(refreshes, cpu, scans, ticks)


def cpu_seconds(store: int) -> float:
    """Return what this process and the object store's have used so far."""
    used = psutil.Process(store).cpu_times()
    return time.process_time() + used.user + used.system


def timed(call: Callable[[], None]) -> float:
    """Return the seconds that a call takes."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def measure_from(first_day: datetime, hour: datetime, repetitions: int, store: int) -> Times:
    """Measure in a separate process: partitions begin with the settings' first day."""
    os.environ["FIRST_DAY"] = f"{first_day:%Y-%m-%d}"
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, hour, repetitions, store).result()


@click.command()
@click.option("--days", default="10,100,1000", show_default=True, help="Histories, ascending.")
@click.option("--repetitions", default=5, show_default=True)
def bench(days: str, repetitions: int) -> None:
    """Seconds of one hour's refresh by the days of history in the bucket."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    histories = [int(history) for history in days.split(",")]
    times_by_history: dict[int, Times] = {}
    with run_object_store() as store:
        template = templates(hour - 2 * HOUR)
        put_objects(current_hour(hour))
        before = 0
        for history in histories:
            hours = range(24 * before + 2, 24 * history + 2)
            began = time.monotonic()
            count = put_objects(file for ago in hours for file in template.hour(hour - ago * HOUR))
            click.echo(
                f"  {history:,} days of history: put {count:,} more files in "
                f"{time.monotonic() - began:.0f} s",
                err=True,
            )
            first_day = hour - timedelta(days=history + 1)
            times_by_history[history] = measure_from(first_day, hour, repetitions, store)
            before = history
    click.echo(
        f"\n{'days':>6} {'refresh s':>10} {'median':>8} {'CPU s':>8} "
        f"{'tick CPU s':>11} {'scan s':>8} {'scans a sweep':>14}"
    )
    for history, times in times_by_history.items():
        click.echo(
            f"{history:>6,} {min(times.refreshes):>10.2f} "
            f"{statistics.median(times.refreshes):>8.2f} {min(times.cpu):>8.2f} "
            f"{min(times.ticks):>11.2f} "
            f"{statistics.median(times.scans):>8.2f} {len(times.scans):>14}"
        )
    first, last = times_by_history[histories[0]], times_by_history[histories[-1]]
    click.echo(f"BENCH usage.refresh_seconds {min(last.refreshes):.2f}")
    click.echo(f"BENCH usage.refresh_growth {min(last.refreshes) / min(first.refreshes):.2f}")
    click.echo(f"BENCH usage.refresh_cpu_growth {min(last.cpu) / min(first.cpu):.2f}")
    click.echo(f"BENCH usage.tick_cpu_seconds {min(last.ticks):.2f}")
    click.echo(f"BENCH usage.tick_growth {min(last.ticks) / min(first.ticks):.2f}")
    click.echo(f"BENCH usage.scan_seconds {statistics.median(last.scans):.2f}")


if __name__ == "__main__":
    bench()
