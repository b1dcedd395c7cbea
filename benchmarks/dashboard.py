"""How long the dashboard takes to be painted, and its memory, by days of history in the lake.

The lake has its last ten days from records, through the tables' own code, and the days before as
shifted copies of them. Chromium opens the page several times, each time a new visitor; the first
visitor comes to a process that has just started. Painted are the key figures with their numbers,
and then a figure with its bars.

Other work on the machine decides much of it: `nice -n -20` helps, or `chrt --rr 1` before the
command, which also has the browser and the page run before everything else.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import click
import psutil

from benchmarks.generated_records import write_records
from benchmarks.object_store import put_objects, run_object_store
from infra.native_stack import Ports
from infra.native_stack.probes import http_ok
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES, TOOTS
from mastodon_pipeline.usage.tables.table import Grain

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS_OF_TOOTS = 10
COPIES = """
    COPY (
        SELECT
            t.* REPLACE ({column} - to_days(age::INTEGER) AS {column}),
            strftime({column} - to_days(age::INTEGER), '%Y-%m-%d') AS day_folder,
            {file} AS file_name
        FROM
            read_parquet($files, hive_partitioning := false) AS t,
            range($first::BIGINT, $last::BIGINT) AS ages (age)
        WHERE {column} - to_days(age::INTEGER) <= $now::TIMESTAMPTZ
    ) TO '{directory}' (FORMAT parquet, PARTITION_BY (day_folder, file_name))
"""


def build_yesterday(lake: Lake, now: datetime, toots: int) -> None:
    """Build the tables of yesterday, as the pipeline builds them."""
    day = now.replace(hour=0, minute=0, second=0, microsecond=0) - DAY
    landed = f"{lake.layout.landed_day(day.date())}a.parquet"
    write_records(lake.connection, landed, start=day, days=1, toots=toots)
    lake.landed.refresh(whole=True)
    for hour in range(24):
        for table in HOURLY_TABLES:
            table.build(lake, day + hour * HOUR)
    for daily in DAILY_TABLES:
        daily.build(lake, day.date())


def copies(lake: Lake, now: datetime, first: int, last: int) -> Iterator[tuple[str, bytes]]:
    """Generate the files of yesterday's tables for other days: from `first` days earlier on.

    -1 is today, as far as it has come. Only the last ten days have `toots`.
    """
    layout = lake.layout
    with tempfile.TemporaryDirectory() as scratch:
        for table in TABLES:
            folder = layout.table_day(table.name, (now - DAY).date())
            files = [file.path for file in lake.parquet_files(folder)]
            end = min(last, DAYS_OF_TOOTS) if table is TOOTS else last
            if not files or end <= first:
                continue
            column = {"toots": "created_at"}.get(
                table.name, "hour" if table.grain is Grain.HOUR else "day"
            )
            directory = Path(scratch, table.name)
            statement = COPIES.format(
                column=column,
                file=f"strftime({column}, '%H')" if table.grain is Grain.HOUR else "''",
                directory=directory,
            )
            days = {"files": files, "first": first, "last": end, "now": now}
            lake.connection.execute(statement, days)
            for path in directory.rglob("*.parquet"):
                day = datetime.fromisoformat(path.parent.parent.name.removeprefix("day_folder="))
                hour = path.parent.name.removeprefix("file_name=")
                if table.grain is Grain.HOUR:
                    to = table.path(layout, day.replace(hour=int(hour), tzinfo=UTC))
                else:
                    to = table.path(layout, day.date())
                yield to, path.read_bytes()
            shutil.rmtree(directory)


@contextmanager
def dashboard() -> Iterator[tuple[str, psutil.Process]]:
    """Run the dashboard; yield its address and its process."""
    port = Ports.free().dagster_port
    command = [
        str(Path(sys.executable).with_name("mastodon-pipeline")),
        "dashboard",
        "--port",
        str(port),
    ]
    with subprocess.Popen(command, env=os.environ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            ready, deadline = http_ok(f"{url}/_stcore/health"), time.monotonic() + 60
            while not ready() and time.monotonic() < deadline:
                time.sleep(0.1)
            yield url, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


class Painted(NamedTuple):
    """Seconds until a visitor sees the first key figure, and the first figure with its bars."""

    number: float
    bars: float

    def __str__(self) -> str:
        return f"{self.number:.2f} s, bars {self.bars:.2f} s"


def paint_seconds(url: str, visits: int, query: str = "") -> Painted:
    """Return how long visitors wait, one after the other: the medians."""
    from playwright.sync_api import sync_playwright

    numbers, bars = [], []
    chromium = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        for _ in range(visits):
            page = browser.new_context().new_page()
            began = time.perf_counter()
            page.goto(f"{url}/{query}")
            page.get_by_test_id("stMetricValue").first.wait_for(timeout=60_000)
            numbers.append(time.perf_counter() - began)
            page.locator(
                "[data-testid=stVegaLiteChart] svg, [data-testid=stVegaLiteChart] canvas"
            ).first.wait_for(timeout=60_000)
            bars.append(time.perf_counter() - began)
            page.context.close()
        browser.close()
    return Painted(statistics.median(numbers), statistics.median(bars))


@click.command()
@click.option("--days", default="10,1000", show_default=True, help="Histories, ascending.")
@click.option("--toots", default=1_250, show_default=True, help="In each hour.")
@click.option("--visits", default=5, show_default=True)
@click.option("--serve", is_flag=True, help="Only serve it, until Enter.")
def bench(days: str, toots: int, visits: int, serve: bool) -> None:
    """Seconds until the page is painted, and its memory, by the days of history."""
    now = datetime.now(UTC)
    with run_object_store():
        os.environ["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"  # only what the tables count
        before = -1
        with open_lake(load_settings()) as lake:
            build_yesterday(lake, now, 24 * toots)
        for history in map(int, days.split(",")):
            with open_lake(load_settings()) as lake:
                for part in range(before, history, 100):  # a hundred days at a time
                    put_objects(copies(lake, now, max(part, before), min(part + 100, history)))
            before = history
            with dashboard() as (url, process):
                if serve:
                    click.prompt(f"{url}  Enter ends it", default="", show_default=False)
                    continue
                first = paint_seconds(url, 1)
                before_others = sum(process.cpu_times()[:2])
                others = paint_seconds(url, visits)
                cpu = (sum(process.cpu_times()[:2]) - before_others) / visits
                quarter = paint_seconds(url, 1, "?period=90d")
                memory = process.memory_full_info()
            click.echo(
                f"{history:>6,} days: first visitor {first}; others {others}, each with {cpu:.2f} s"
                f" of the page's CPU; 90 days {quarter};"
                f" PSS {memory.pss / 1e6:.0f} MB, RSS {memory.rss / 1e6:.0f} MB"
            )


if __name__ == "__main__":
    bench()
