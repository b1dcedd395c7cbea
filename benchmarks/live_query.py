"""What a live query takes at the end of an hour with 100 toots a second, beside one of the table.

The hour is in MinIO, in a file for each commit of the sink, and its tables are two files behind.
The topic's tail has a minute of records, and 100 more before each query, over one connection. The
topic is in memory: asking Kafka takes 0.02 s, and decoding 100 records 3 ms.
"""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import click
import duckdb

from benchmarks.generated_records import write_records
from benchmarks.object_store import run_object_store
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.sink_progress import PartitionProgress
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.live.hours import LiveHours
from mastodon_pipeline.usage.live.tables import LiveTables
from mastodon_pipeline.usage.live.tail import Tail
from mastodon_pipeline.usage.live.topic import TailRecord
from mastodon_pipeline.usage.live.views import create_live_views
from mastodon_pipeline.usage.tables.hourly import build_toots, build_toots_per_server
from mastodon_pipeline.usage.views import connect_views

RATE = 100
TOOTS = 3600 * RATE
TAIL_TOOTS = 60 * RATE
BEHIND = 2
"""Files that the tables do not have."""


class Cost(NamedTuple):
    """Seconds of a query."""

    clock: float
    cpu: float
    """Of this process: DuckDB uses all cores."""


class MemoryTopic:
    """A topic of one partition of which the sink has committed nothing: what it has is the tail."""

    def __init__(self, records: list[TootRecord], length: int) -> None:
        self._records, self.length = records, length

    def identity(self) -> str:
        """Return the topic's id."""
        return "memory"

    def progress(self) -> tuple[PartitionProgress, ...]:
        """Return where it ends now."""
        return (PartitionProgress(0, 0, 0, min(self.length, len(self._records))),)

    def read(self, ranges: Mapping[int, range], timeout_seconds: float) -> Iterator[TailRecord]:
        """Return the records of a range."""
        for offset in ranges[0]:
            record = self._records[offset]
            yield TailRecord(0, offset, record.ingested_at, record)


def write_hour(lake: Lake, hour: datetime, files: int) -> None:
    """Land all but the tail of an hour's toots, and build its tables when two files are missing."""
    landed = TOOTS - TAIL_TOOTS
    bounds = [landed * number // files for number in range(files + 1)]
    for number in range(files):
        if number == files - BEHIND:
            build_toots(lake, hour)
            build_toots_per_server(lake, hour)
            time.sleep(1.1)  # a listing shows times in whole seconds
        write_records(
            lake.connection,
            f"{lake.layout.landed_day(datetime.now(UTC).date())}{number:05}.parquet",
            start=hour,
            days=1 / 24,
            toots=TOOTS,
            first=bounds[number],
            last=bounds[number + 1],
        )


def tail_records(lake: Lake, hour: datetime) -> list[TootRecord]:
    """Return the records of the hour's last toots."""
    path = str(Path(lake.empty_record).with_name("tail.parquet"))
    write_records(
        lake.connection, path, start=hour, days=1 / 24, toots=TOOTS, first=TOOTS - TAIL_TOOTS
    )
    columns = ", ".join(
        f"epoch_ms({field.name})" if field.is_time else field.name for field in record_fields()
    )
    rows = lake.connection.execute(
        f"SELECT {columns} FROM read_parquet([$empty, $path], union_by_name := true)"
        " ORDER BY ingested_at",
        {"empty": lake.empty_record, "path": path},
    ).fetchall()
    return [TootRecord(*row) for row in rows]


def cost(connection: duckdb.DuckDBPyConnection, schema: str) -> Cost:
    """Count the hour's toots."""
    clock, cpu = time.perf_counter(), time.process_time()
    connection.execute(f"SELECT sum(toots) FROM {schema}.toots_per_server_per_hour").fetchall()
    return Cost(time.perf_counter() - clock, time.process_time() - cpu)


def medians(costs: list[Cost]) -> Cost:
    """Return the median of each."""
    return Cost(*(statistics.median(values) for values in zip(*costs, strict=True)))


@click.command()
@click.option("--files", default=60, show_default=True, type=click.IntRange(3), help="In the hour.")
@click.option("--runs", default=20, show_default=True, type=click.IntRange(2), help="Queries.")
def bench(files: int, runs: int) -> None:
    """Seconds of a live query in a busy hour, against one of the table."""
    hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    with run_object_store(), ExitStack() as opened:
        lake = opened.enter_context(open_lake(load_settings()))
        write_hour(lake, hour, files)
        records = tail_records(lake, hour)
        topic = MemoryTopic(records, len(records) - (runs + 1) * RATE)
        connection = opened.enter_context(closing(connect_views(live=False)))

        def open_tables(
            empty: dict[str, str], directory: Path
        ) -> tuple[LiveTables, Callable[[], None]]:
            readers = opened.enter_context(open_lake(load_settings()))
            readers.landed.read_only = True
            tail = Tail(topic, readers.connection, readers.empty_record)
            hours = LiveHours(readers, tail, load_settings().first_day, directory)
            return LiveTables(readers, hours, empty), lambda: None

        create_live_views(connection, open_tables, same_cut_seconds=0.0)
        first = cost(connection, "live")
        live, table = [], []
        for _ in range(runs):
            topic.length += RATE
            live.append(cost(connection, "live"))
            table.append(cost(connection, "main"))
    click.echo(
        f"\nan hour of {TOOTS:,} toots in {files} files, load {os.getloadavg()[0]:.1f} on"
        f" {os.cpu_count()} cores"
    )
    click.echo(f"{'':<28}{'clock s':>9}{'CPU s':>8}")
    for name, result in (
        ("the table", medians(table)),
        ("live, the first query", first),
        ("live, the next ones", medians(live)),
    ):
        click.echo(f"{name:<28}{result.clock:>9.3f}{result.cpu:>8.3f}")
    click.echo(f"BENCH freshness.live_query_seconds {medians(live).clock:.3f}")
    click.echo(f"BENCH freshness.live_query_cpu_seconds {medians(live).cpu:.3f}")


if __name__ == "__main__":
    bench()
