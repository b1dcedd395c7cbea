"""What it costs to know which offsets have landed, with thousands of landed files in the bucket.

The sink writes some thousands of files a day. The baseline, in the same run, opens every file, as
is necessary each time without an index of them.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import click

from benchmarks.backfill import landed
from benchmarks.object_store import put_objects, run_object_store
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.landed_index import landed_toots
from mastodon_pipeline.settings import load_settings

DAY = timedelta(days=1)
EVERY_FILE = (
    "SELECT count(DISTINCT (kafka_partition, kafka_offset))"
    " FROM read_parquet($files, hive_partitioning := false)"
)


@click.command()
@click.option("--toots", default=5_000, show_default=True, help="Of one day.")
def bench(toots: int) -> None:
    """Seconds to count what has landed, with and without the index."""
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with run_object_store():
        settings = load_settings()
        count = put_objects(landed(end - DAY, 1, toots))
        with open_lake(settings) as lake:

            def open_all() -> int:
                paths = [file.path for file in lake.parquet_files(lake.layout.landed())]
                lake.connection.execute(EVERY_FILE, {"files": paths}).fetchall()
                return len(paths)

            def observe() -> int:
                return landed_toots(lake).opened

            def timed(call: Callable[[], int]) -> int:
                began = time.perf_counter()
                opened = call()
                seconds.append(time.perf_counter() - began)
                return opened

            seconds: list[float] = []
            opened = [timed(open_all), timed(observe), timed(observe)]
            busy = (
                f"{end - timedelta(hours=6):%Y-%m-%d-%H}"  # the others of its hour are opened too
            )
            path, content = next(file for file in landed(end - DAY, 1, 100) if busy in file[0])
            put_objects([(path.replace(".parquet", "-late.parquet"), content)])
            opened.append(timed(observe))
    names = ("every file", "the first count", "nothing new", "one new file")
    click.echo(f"\n{'of ' + format(count, ',') + ' files':<18}{'opened':>8}{'s':>8}")
    for name, files, taken in zip(names, opened, seconds, strict=True):
        click.echo(f"{name:<18}{files:>8,}{taken:>8.2f}")
    click.echo(f"BENCH landing.observe_seconds {seconds[3]:.2f}")
    click.echo(f"BENCH landing.observe_ratio_vs_opening_all {seconds[0] / seconds[3]:.1f}")


if __name__ == "__main__":
    bench()
