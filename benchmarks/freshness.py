"""How old a toot is when it is counted in the current hour: by `live`, and by the table.

The whole product at its default settings, on this machine: Kafka, Connect, MinIO, registry,
Dagster with its sensors, and a listener that follows simulated servers which publish by the clock.
Once a second a reader queries `live.toots_per_server_per_hour`, over a connection that stays open,
and then the table in the bucket, which is the baseline.

A toot's time begins with its `ingested_at`, which the listener takes just before it produces the
record: a little before the toot arrives in Kafka, so the figures are a little too high. It ends
with the first result that counts it: the n-th toot of an hour and server is counted once the table
has n. The stages to the table are

- parquet: the sink's commit puts the record's file into its day's folder;
- table: a tick of `landed_toots_sensor` sees it, and builds `toots` and the table, or requests a
  run that does; and the reader queries it.
"""

import os
import shutil
import socket
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import click
import dagster as dg
import duckdb

from infra.counting import counted_toots
from infra.demo import observe_listeners
from infra.native_stack import Ports, Program, Stack
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.errors import ObjectStoreUnavailable
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing.jobs import refresh_daily_usage, refresh_hourly_usage
from mastodon_pipeline.usage.views import connect_views

ARRIVALS = """
    select
        strftime(arg_min(created_at, ingested_at), '%Y-%m-%d-%H') as hour,
        arg_min(server, ingested_at) as server,
        epoch(min(ingested_at)) as ingested_at,
        arg_min(filename, ingested_at) as file
    from read_parquet($landed, union_by_name = true, hive_partitioning = false, filename = true)
    where event <> 'delete'
    group by uri
    order by min(ingested_at)
"""
LIVE = """
    select strftime(hour, '%Y-%m-%d-%H'), server, toots from live.toots_per_server_per_hour
"""
STAGES = ("parquet", "table")


@dataclass(frozen=True)
class Arrival:
    """A toot's first record."""

    hour: ServerHour
    ingested_at: float
    """Seconds since the epoch, as all times here."""
    landed_at: float
    """By the object store's stamp, whole seconds in a listing."""


@dataclass(frozen=True)
class Run:
    """A run of the usage stage that succeeded."""

    job: str
    partitions: tuple[str, str]
    """First and last."""
    requested_at: float
    started_at: float
    ended_at: float

    def is_queued_behind(self, other: "Run") -> bool:
        """Return whether it was requested while another was to build the same partitions."""
        return (
            self.job == other.job
            and other.requested_at < self.requested_at < other.ended_at
            and self.partitions[0] <= other.partitions[1]
            and other.partitions[0] <= self.partitions[1]
        )


@dataclass(frozen=True)
class Journey:
    """A toot's times on the way to the table; none is before the one ahead of it."""

    times: tuple[float, ...]
    """Ingested, landed, counted."""

    @property
    def seconds(self) -> float:
        """From the first time to the last."""
        return self.times[-1] - self.times[0]

    def stage(self, position: int) -> float:
        """Return how long a stage took, by its position in `STAGES`."""
        return self.times[position + 1] - self.times[position]


class Reader:
    """Queries a table, and remembers when it first had which count."""

    def __init__(self, query: Callable[[], dict[ServerHour, int]]) -> None:
        self._query = query
        self.counts: defaultdict[ServerHour, list[tuple[int, float]]] = defaultdict(list)
        self.total = 0
        self.took: list[float] = []
        """Seconds of each query."""

    def read(self) -> None:
        """Query the table once."""
        began = time.perf_counter()
        counts = self._query()
        self.took.append(time.perf_counter() - began)
        now = time.time()
        self.total = sum(counts.values())
        for hour, toots in counts.items():
            history = self.counts[hour]
            if not history or toots > history[-1][0]:
                history.append((toots, now))

    def counted_at(self, hour: ServerHour, number: int) -> float:
        """Return when the hour's `number`-th toot, from 1 on, was counted."""
        return next(at for toots, at in self.counts[hour] if toots >= number)


def read_each_second(live: Reader, table: Reader, seconds: float, until: int | None = None) -> None:
    """Query both for some seconds, or until the table has `until` toots."""
    began = time.monotonic()
    reported = 0.0
    while (passed := time.monotonic() - began) < seconds:
        live.read()
        table.read()
        if table.total == until:
            return
        if passed - reported >= 10:
            reported = passed
            click.echo(
                f"  {live.total:,} toots counted live, {table.total:,} in the table"
                f" ({passed:.0f} s)",
                err=True,
            )
        time.sleep(max(0.0, 1 - (time.monotonic() - began - passed)))


def connect_lake_views(deadline: float) -> duckdb.DuckDBPyConnection:
    """Connect once there is a bucket: the sink's job creates it."""
    while True:
        try:
            return connect_views()
        except ObjectStoreUnavailable:
            if time.monotonic() > deadline:
                raise
        time.sleep(1)


def live_toots(connection: duckdb.DuckDBPyConnection) -> dict[ServerHour, int]:
    """Read what `live` counts."""
    return {(hour, server): toots for hour, server, toots in connection.execute(LIVE).fetchall()}


@contextmanager
def run_product(
    servers: int, toots: int = 0, hours: float = 1.0
) -> Iterator[tuple[Stack, SimulatedFediverse]]:
    """Run all that `make up` starts, and simulated servers to listen to; nothing is left of it.

    These publish `toots` of the past `hours` at once.
    """
    first = find_free_ports(servers + 1)
    fediverse = SimulatedFediverse(
        servers, toots, hours, 7, first_port=first + 1, control_port=first, calm=True
    )
    settings = fediverse.listening_environment()
    with run_stack(settings, [fediverse.program(settings)]) as stack:
        yield stack, fediverse


@contextmanager
def run_stack(settings: Mapping[str, str], extra: Sequence[Program] = ()) -> Iterator[Stack]:
    """Run all that `make up` starts with these settings, and more; nothing is left of it."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-bench-"))
    stack = Stack(data=data, ports=Ports.free(), say=lambda text: click.echo(text, err=True))
    former = dict(os.environ)
    try:
        os.environ.pop("MASTODON_SERVERS_FILE", None)
        os.environ.update(settings)
        stack.up(with_dagster=True, extra=extra)
        os.environ.update(stack.environment)
        yield stack
    finally:
        os.environ.clear()
        os.environ.update(former)
        stack.down()
        shutil.rmtree(data)


def find_free_ports(count: int) -> int:
    """Return the first of `count` neighbouring ports that nobody listens on."""
    for first in range(20_000, 32_000, count):
        try:
            with ExitStack() as sockets:
                for port in range(first, first + count):
                    sockets.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
    raise RuntimeError(f"no {count} free ports in a row")


def arrivals() -> list[Arrival]:
    """Return every toot's first record, from the landed files."""
    with open_lake(load_settings()) as lake:
        landed = lake.layout.landed()
        landed_at = {file.path: file.modified.timestamp() for file in lake.list_files(landed)}
        rows = lake.connection.execute(ARRIVALS, {"landed": f"{landed}*/*.parquet"}).fetchall()
    return [
        Arrival((hour, server), ingested_at, landed_at[file])
        for hour, server, ingested_at, file in rows
    ]


def usage_runs(data: Path) -> list[Run]:
    """Return the runs that `landed_toots_sensor` requested, oldest first.

    Raises RuntimeError if one has failed.
    """
    runs = []
    with open_instance(data / "dagster") as instance:
        for job in (refresh_hourly_usage.name, refresh_daily_usage.name):
            for record in instance.get_run_records(dg.RunsFilter(job_name=job), ascending=True):
                run = record.dagster_run
                if run.status == dg.DagsterRunStatus.FAILURE:
                    raise RuntimeError(f"run {run.run_id} of {job} has failed")
                if run.status != dg.DagsterRunStatus.SUCCESS:
                    continue  # unfinished
                runs.append(
                    Run(
                        job,
                        (run.tags[RANGE_START], run.tags[RANGE_END]),
                        record.create_timestamp.timestamp(),
                        record.start_time or 0,
                        record.end_time or 0,
                    )
                )
    return runs


def live_seconds(arrived: list[Arrival], reader: Reader, began: float) -> list[float]:
    """Return every toot's age when it was first counted, of those that arrived since `began`."""
    numbers: defaultdict[ServerHour, int] = defaultdict(int)
    ages = []
    for toot in arrived:
        numbers[toot.hour] += 1
        if toot.ingested_at >= began:
            ages.append(reader.counted_at(toot.hour, numbers[toot.hour]) - toot.ingested_at)
    return ages


def journeys(arrived: list[Arrival], reader: Reader) -> list[Journey]:
    """Return every toot's times."""
    numbers: defaultdict[ServerHour, int] = defaultdict(int)
    toots = []
    for toot in arrived:
        numbers[toot.hour] += 1
        counted_at = reader.counted_at(toot.hour, numbers[toot.hour])
        # The object store's stamps are whole seconds, rounded down.
        landed_at = min(max(toot.ingested_at, toot.landed_at), counted_at)
        toots.append(Journey((toot.ingested_at, landed_at, counted_at)))
    return toots


def quantile_columns(values: list[float]) -> str:
    """Return the median, the 95th percentile and the maximum, as columns."""
    cut = statistics.quantiles(values, n=100, method="inclusive")
    return f"{cut[49]:>8.1f} {cut[94]:>8.1f} {max(values):>8.1f}"


@click.command()
@click.option("--servers", default=3, show_default=True, type=click.IntRange(1))
@click.option("--rate", default=10.0, show_default=True, help="Toots per second, in all.")
@click.option("--seconds", default=240.0, show_default=True, help="How long they publish.")
@click.option("--warm-up", default=30.0, show_default=True, help="Seconds before that, left out.")
def bench(servers: int, rate: float, seconds: float, warm_up: float) -> None:
    """Seconds from a toot's arrival until it is counted, live and in toots_per_server_per_hour."""
    with ExitStack() as opened:
        stack, fediverse = opened.enter_context(run_product(servers))
        deadline = time.monotonic() + 120
        while not (observation := observe_listeners(fediverse))[0]:
            if time.monotonic() > deadline:
                raise click.ClickException(observation[1])
            time.sleep(1)
        connection = opened.enter_context(closing(connect_lake_views(deadline)))
        live, reader = Reader(partial(live_toots, connection)), Reader(counted_toots)
        fediverse.publish_live(rate)
        read_each_second(live, reader, warm_up)
        began = time.time()
        live.took.clear()
        read_each_second(live, reader, seconds)
        fediverse.publish_live(0)
        time.sleep(2)  # the last copies are still federated
        published = sum(fediverse.truth().values())
        read_each_second(live, reader, 180, until=published)
        memory = stack.memory_bytes() / 1e6
        arrived, all_runs = arrivals(), usage_runs(stack.data)
    queued = sum(run.is_queued_behind(other) for run in all_runs for other in all_runs)
    if not reader.total == live.total == len(arrived) == published:
        raise click.ClickException(
            f"{published} toots were published, {len(arrived)} landed, {live.total} are counted"
            f" live, {reader.total} in the table"
        )
    toots = [toot for toot in journeys(arrived, reader) if toot.times[0] >= began]
    load = os.getloadavg()[0]
    click.echo(
        f"\n{len(toots):,} toots of {servers} servers in {seconds:.0f} s, {memory:,.0f} MB in all, "
        f"load {load:.1f} on {os.cpu_count()} cores, "
        f"from {datetime.fromtimestamp(began, UTC):%H:%M} UTC"
    )
    for job in (refresh_hourly_usage.name, refresh_daily_usage.name):
        took = [run.ended_at - run.started_at for run in all_runs if run.job == job]
        click.echo(f"{job}: {len(took)} runs of {statistics.median(took or [0]):.1f} s (median)")
    click.echo(f"runs that were requested behind another of the same partitions: {queued}")
    click.echo(f"\n{'seconds':<10} {'p50':>8} {'p95':>8} {'max':>8}")
    for position, stage in enumerate(STAGES):
        click.echo(f"{stage:<10} {quantile_columns([toot.stage(position) for toot in toots])}")
    totals = [toot.seconds for toot in toots]
    click.echo(f"{'all':<10} {quantile_columns(totals)}")
    ages = live_seconds(arrived, live, began)
    click.echo(f"{'live':<10} {quantile_columns(ages)}")
    live_cut = statistics.quantiles(ages, n=100, method="inclusive")
    took_cut = statistics.quantiles(live.took, n=100, method="inclusive")
    click.echo(f"a live query takes {took_cut[49]:.2f} s (median), {took_cut[94]:.2f} s (p95)")
    click.echo(f"BENCH freshness.live_p95_seconds {live_cut[94]:.1f}")
    cut = statistics.quantiles(totals, n=100, method="inclusive")
    click.echo(f"BENCH freshness.p50_seconds {cut[49]:.1f}")
    click.echo(f"BENCH freshness.p95_seconds {cut[94]:.1f}")
    click.echo(f"BENCH freshness.max_seconds {max(totals):.1f}")
    click.echo(f"BENCH usage.runs_behind_themselves {queued}")


if __name__ == "__main__":
    bench()
