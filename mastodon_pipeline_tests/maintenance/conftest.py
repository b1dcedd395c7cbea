"""A lake with a sink of its own, which commits every second, for maintenance to work on."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest
from msgspec.structs import replace

from infra.native_stack import Stack
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
from mastodon_pipeline_tests.support.producing import eventually, produce, toots

NAMES = {
    "kafka_topic": "kept-topic",
    "s3_bucket": "kept-bucket",
    "connector_name": "kept-sink",
    "iceberg_table": "kept.raw",
    "first_day": "2020-01-01",
    "raw_retention_days": "30",
}
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
OLD = NOW - timedelta(days=60)
"""The first of the hours that are past their retention."""
YOUNG = NOW - timedelta(days=3)
AT_ONCE = Ages(snapshots=timedelta(0), files=timedelta(seconds=2))


@dataclass
class KeptLake:
    """A lake that a real sink writes to."""

    settings: Settings
    produced: int = 0
    batches: Iterator[int] = field(default_factory=count)

    def produce(self, number: int, first: datetime, hours: int = 1) -> None:
        """Produces so many toots that nobody has seen before, spread over these hours."""
        batch = next(self.batches)
        records = [
            replace(record, uri=f"https://mastodon.example/{batch}/{n}", status_id=f"{batch}-{n}")
            for n, record in enumerate(toots(number, first, hours))
        ]
        self.produced += produce(self.settings, records)

    def land(self, number: int, first: datetime, hours: int = 1) -> None:
        """Produces, and waits until the sink has committed a snapshot with all of it."""
        before = self.committed()
        self.produce(number, first, hours)
        eventually(lambda: self.committed() >= before + number, "the sink has committed")

    def let_it_age(self) -> None:
        """Lands a toot in a young hour, with a commit that is younger by `AT_ONCE.files`."""
        old_enough = datetime.now(UTC) + AT_ONCE.files
        eventually(lambda: datetime.now(UTC) > old_enough, "the files are old enough")
        self.land(1, YOUNG)

    def committed(self) -> int:
        """Rows of the table, as its newest snapshot sums them up."""
        table = open_table(self.settings)
        newest = table.current_snapshot() if table else None
        if newest is None or newest.summary is None:
            return 0
        return int(newest.summary.additional_properties["total-records"])

    def maintain(self, **how: Any) -> Report:
        """Maintains at once: nothing has to be older than two seconds."""
        return maintain(self.settings, **{"ages": AT_ONCE, "log": str, **how})

    def build(self, first: datetime, hours: int = 1) -> None:
        """Builds the hourly tables of these hours."""
        with open_lake(self.settings) as lake:
            build_hours(lake, *(first + timedelta(hours=number) for number in range(hours)))

    def in_iceberg(self) -> int:
        """Rows of the table, counted by pyiceberg."""
        table = open_table(self.settings)
        assert table is not None
        return int(table.scan().count())

    def in_landed_files(self) -> int:
        """Different records in the sink's folders, counted by DuckDB."""
        return self._count("SELECT count(DISTINCT (_partition, _offset))", "topics/*/*")

    def in_toots(self) -> int:
        """Toots, each of them once, in the table that is kept."""
        return self._count("SELECT count(DISTINCT uri)", "toots/*/*")

    def objects(self) -> dict[str, str]:
        """Everything in the bucket, with its etag."""
        with open_lake(self.settings) as lake:
            return {file.path: file.etag for file in lake.list_files(f"{lake.layout.root}/")}

    def _count(self, select: str, folder: str) -> int:
        path = f"s3://{self.settings.s3_bucket}/{folder}/*.parquet"
        with connect_lake(self.settings) as lake:
            row = lake.execute(f"{select} FROM read_parquet(?)", [path]).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="session")
def sunk(stack: Stack) -> Iterator[KeptLake]:
    """Toots of a young hour, landed and counted, by a sink that commits every second."""
    settings = load_settings(**NAMES)
    ensure_topics(settings, listening_topics(settings))
    often = {"iceberg.control.commit.interval-ms": "1000"}
    apply_connector_config(settings, str, wanted=connector_config(settings) | often)
    lake = KeptLake(settings)
    lake.land(50, YOUNG)
    lake.build(YOUNG)
    yield lake
    with ConnectRest(settings.kafka_connect_url) as connect:
        connect.delete(settings.connector_name)
