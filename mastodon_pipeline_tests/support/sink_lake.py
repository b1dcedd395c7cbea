"""A lake that a real sink writes to, for maintenance to work on."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from msgspec.structs import replace

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.connection import connect_lake
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.maintenance.maintaining import Ages, maintain
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.kafka_topics import apply_topic_config
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.waiting import wait_until

SETTINGS = {
    "kafka_topic": "maintained-topic",
    "s3_bucket": "maintained-bucket",
    "connector_name": "maintained-sink",
    "iceberg_table": "maintained.raw",
    "first_day": "2020-01-01",
    "raw_retention_days": "30",
}
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
OLD = NOW.replace(hour=5) - timedelta(days=60)
"""The first of the hours that are past their retention, early in its day."""
YOUNG = NOW.replace(hour=5) - timedelta(days=3)
NO_WAIT = Ages(snapshots=timedelta(0), files=timedelta(seconds=2))


@dataclass
class SinkLake:
    """A lake with its own topic, bucket and sink."""

    settings: Settings
    produced: int = 0
    batches: Iterator[int] = field(default_factory=count)

    def produce(self, number: int, first: datetime, hours: int = 1) -> None:
        """Produce `number` new toots, spread over the hours from `first` on."""
        batch = next(self.batches)
        records = [
            replace(
                record,
                uri=f"https://mastodon.example/{batch}/{index}",
                status_id=f"{batch}-{index}",
            )
            for index, record in enumerate(toots(number, first, hours))
        ]
        self.produced += produce(self.settings, records)

    def land(self, number: int, first: datetime, hours: int = 1) -> None:
        """Produce toots, and wait until the sink has committed a snapshot with all of them."""
        before = self.committed_rows()
        self.produce(number, first, hours)
        wait_until(lambda: self.committed_rows() >= before + number, "the sink has committed")

    def age(self) -> None:
        """Wait until all files are older than `NO_WAIT.files`, then land a toot in a young hour.

        The sink's commit of that toot shows that it has not stalled.
        """
        old_enough = datetime.now(UTC) + NO_WAIT.files
        wait_until(lambda: datetime.now(UTC) > old_enough, "the files are old enough")
        self.land(1, YOUNG)

    def committed_rows(self) -> int:
        """Return the rows of the Iceberg table, from the newest snapshot's summary."""
        table = open_table(self.settings)
        newest = table.current_snapshot() if table else None
        if newest is None or newest.summary is None:
            return 0
        return int(newest.summary.additional_properties["total-records"])

    def maintain(self, **options: Any) -> Report:
        """Maintain the lake; nothing has to be older than two seconds."""
        return maintain(self.settings, **{"ages": NO_WAIT, "log": str, **options})

    def build(self, first: datetime, hours: int = 1) -> None:
        """Build the hourly tables of these hours."""
        with open_lake(self.settings) as lake:
            build_hours(lake, *(first + timedelta(hours=number) for number in range(hours)))

    def iceberg_rows(self) -> int:
        """Return the rows of the Iceberg table, counted by pyiceberg."""
        table = open_table(self.settings)
        assert table is not None
        return int(table.scan().count())

    def landed_records(self) -> int:
        """Return the distinct records in the sink's folders, counted by DuckDB."""
        return self._count("SELECT count(DISTINCT (kafka_partition, kafka_offset))", "topics/*/*")

    def distinct_toots(self) -> int:
        """Return the distinct toots in the table `toots`."""
        return self._count("SELECT count(DISTINCT uri)", "toots/*/*")

    def objects(self) -> dict[str, str]:
        """Return everything in the bucket but the index, a cache: the etag by path."""
        with open_lake(self.settings) as lake:
            return {
                file.path: file.etag
                for file in lake.list_files(f"{lake.layout.root}/")
                if not file.path.startswith(lake.layout.landed_index())
            }

    def _count(self, select: str, folder: str) -> int:
        path = f"s3://{self.settings.s3_bucket}/{folder}/*.parquet"
        with connect_lake(self.settings) as connection:
            row = connection.execute(f"{select} FROM read_parquet(?)", [path]).fetchone()
        assert row is not None
        return int(row[0])


@contextmanager
def young_lake(values: Mapping[str, str]) -> Iterator[SinkLake]:
    """Make a lake with toots of a young hour, by a sink that commits every second."""
    settings = load_settings(**values)
    ensure_topics(settings, listening_topics(settings))
    often = {"iceberg.control.commit.interval-ms": "1000"}
    apply_connector_config(settings, str, wanted=connector_config(settings) | often)
    # So that the days of arrival are those that a test says, and not all today.
    apply_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    lake = SinkLake(settings)
    lake.land(50, YOUNG)
    lake.build(YOUNG)
    yield lake
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)
