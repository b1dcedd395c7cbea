"""What the pipeline has counted, and runs that count what has landed, at once.

The sensor would request them, ten seconds later at most: that is much in a demo of a minute.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import click
import duckdb

from infra.launching import launch_counting
from infra.native_stack import StackError
from infra.simulated_fediverse import ServerHour, SimulatedFediverse
from mastodon_pipeline.errors import ObjectStoreUnavailable
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.settings import load_settings

if TYPE_CHECKING:
    from confluent_kafka import Consumer

# What takes long to import is imported where it is used: the stack starts meanwhile.
COUNTED = """
    select strftime(hour, '%Y-%m-%d-%H'), server, toots::bigint, filename
    from read_parquet($tables, union_by_name = true, filename = true)
"""
HOUR_FORMAT = "%Y-%m-%d-%H"
"""Of a `ServerHour`."""
KAFKA_SECONDS = 10.0
HOUR = timedelta(hours=1)


def counted_toots() -> dict[ServerHour, int]:
    """Read what the pipeline counted from `toots_per_server_per_hour` in the bucket."""
    settings = load_settings()
    tables = f"s3://{settings.s3_bucket}/usage/toots_per_server_per_hour/**/*.parquet"
    with connect_lake(settings) as lake:
        try:
            rows = lake.execute(COUNTED, {"tables": tables}).fetchall()
        except (duckdb.IOException, duckdb.HTTPException):
            return {}  # No table yet, or no bucket yet.
    return {(hour, server): toots for hour, server, toots, _ in rows}


class Counts:
    """What the tables in the bucket count, read again where a file has changed."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._etags: dict[str, str] = {}
        self._by_file: dict[str, dict[ServerHour, int]] = {}

    def read(self) -> dict[ServerHour, int]:
        """Return the counts of all hours."""
        root = self._lake.layout.root
        files = self._lake.parquet_files(f"{root}/usage/toots_per_server_per_hour/")
        etags = {file.path: file.etag for file in files}
        self._read(path for path, etag in etags.items() if self._etags.get(path) != etag)
        self._etags = etags
        return {key: toots for path in etags for key, toots in self._by_file.get(path, {}).items()}

    def _read(self, paths: Iterable[str]) -> None:
        changed = list(paths)
        if not changed:
            return
        rows = self._lake.connection.execute(COUNTED, {"tables": changed}).fetchall()
        self._by_file.update({path: {} for path in changed})
        for hour, server, toots, path in rows:
            self._by_file[path][hour, server] = toots


def differing_hours(
    published: dict[ServerHour, int], counted: dict[ServerHour, int]
) -> list[ServerHour]:
    """List the server-hours in which the two differ."""
    keys = sorted(published.keys() | counted.keys())
    return [key for key in keys if published.get(key, 0) != counted.get(key, 0)]


class Counting:
    """What has landed and what is counted; requests a run while the two differ."""

    def __init__(
        self,
        fediverse: SimulatedFediverse,
        lake: Lake,
        reader: "Consumer",
        dagster_url: str | None = None,
    ) -> None:
        """`reader`: of the sink's group. Without `dagster_url` all is left to the sensor."""
        self._fediverse, self._lake, self._reader = fediverse, lake, reader
        self._dagster_url = dagster_url
        self._counts = Counts(lake)
        self._requested = 0
        """How many records had landed when a run was last requested."""
        self._requested_at = datetime.min.replace(tzinfo=UTC)
        self._runs: set[str] = set()
        lake.landed.read_only = True  # The index is the pipeline's.

    def landed_records(self) -> tuple[int, int]:
        """Return how many records the sink has taken from Kafka into files, and how many it has."""
        from confluent_kafka import KafkaException

        from mastodon_pipeline.landing.sink_progress import progress

        try:
            partitions = progress(self._reader, load_settings().kafka_topic, KAFKA_SECONDS)
        except KafkaException:
            return 0, 0  # A broker that does not answer now will.
        landed = sum(partition.committed for partition in partitions)
        return landed, sum(partition.end for partition in partitions)

    def counted(self) -> dict[ServerHour, int]:
        """Return what the tables count now."""
        try:
            return self._counts.read()
        except (duckdb.Error, ObjectStoreUnavailable):
            return {}  # A table was replaced while it was read, or there is no bucket yet.

    def count_landed(self) -> None:
        """Request a run for what has landed since the last request, and is not counted.

        It may run beside an earlier one, of other hours. Where Dagster does not answer, it is left
        to the sensor.
        """
        landed, _ = self.landed_records()
        if self._dagster_url is None or landed <= self._requested:
            return
        try:
            self._lake.landed.refresh()
            at = self._lake.landed.clock()
            if not self._request(self._dagster_url):
                return
        except (duckdb.Error, ObjectStoreUnavailable):
            return  # A table was replaced while it was read, or there is no bucket yet.
        except StackError as error:
            click.echo(f"{error}; its sensor will", err=True)
        self._requested, self._requested_at = landed, at

    def _request(self, dagster_url: str) -> bool:
        """Request a run for hours of which something is new; return False if it has to wait.

        The hour before these is counted first: see `usage.inputs.clock_skew`.
        """
        counted = self._counts.read()
        hours = _hours(differing_hours(self._fediverse.truth(), counted))
        hours &= self._lake.landed.hours_indexed_since(self._requested_at).keys()
        if not hours:
            return True
        before = min(hours) - HOUR
        if before in self._lake.landed.of_hours([before]) and before not in _hours(counted):
            return False
        return launch_counting(dagster_url, hours, self._runs)


def _hours(of: Iterable[ServerHour]) -> set[datetime]:
    return {datetime.strptime(hour, HOUR_FORMAT).replace(tzinfo=UTC) for hour, _ in of}
