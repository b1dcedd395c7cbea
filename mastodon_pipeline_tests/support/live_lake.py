"""A local lake with a topic in memory in front of it: records are produced, landed, and built."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.sink_progress import PartitionProgress
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.live.hours import LiveHours
from mastodon_pipeline.usage.live.tables import LIVE_TABLES, LiveTables
from mastodon_pipeline.usage.live.tail import Tail
from mastodon_pipeline.usage.live.topic import TailRecord
from mastodon_pipeline.usage.live.views import create_live_views
from mastodon_pipeline_tests.support.local_lake import HOUR, Record, local_lake, write_parquet

FIRST_DAY = date(2026, 1, 1)


def toot_record(record: Record) -> TootRecord:
    """Return a landed record as it was in the topic."""
    values = {name: record[name] for name in TootRecord.__struct_fields__}
    for field_ in record_fields():
        if field_.is_time and values[field_.name] is not None:
            values[field_.name] = milliseconds(values[field_.name])
    return TootRecord(**values)


@dataclass
class MemoryTopic:
    """A topic of some partitions, with the sink's place in each."""

    partitions: int = 2
    generation: int = 0
    logs: list[list[Record]] = field(default_factory=list)
    committed: list[int] = field(default_factory=list)
    between: Callable[[str], None] = lambda _: None
    """Called before each answer, with the method's name."""

    def __post_init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Make the topic again."""
        self.generation += 1
        self.logs = [[] for _ in range(self.partitions)]
        self.committed = [0] * self.partitions

    def produce(self, partition: int, record: Record) -> None:
        """Append a record."""
        place = {"kafka_partition": partition, "kafka_offset": len(self.logs[partition])}
        self.logs[partition].append({**record, **place})

    def identity(self) -> str:
        """Return the topic's id."""
        self.between("identity")
        return str(self.generation)

    def progress(self) -> tuple[PartitionProgress, ...]:
        """Return the sink's places, and then the ends."""
        committed = list(self.committed)
        self.between("progress")
        ends = [len(log) for log in self.logs]
        return tuple(
            PartitionProgress(number, 0, min(committed[number], ends[number]), ends[number])
            for number in range(self.partitions)
        )

    def read(self, ranges: Mapping[int, range], timeout_seconds: float) -> Iterator[TailRecord]:
        """Read each partition's range."""
        for number, offsets in ranges.items():
            self.between("read")
            for offset in offsets:
                if offset < len(self.logs[number]):
                    record = self.logs[number][offset]
                    yield TailRecord(
                        number, offset, milliseconds(record["kafka_timestamp"]), toot_record(record)
                    )


class LiveLake:
    """The lake, the topic, and a connection with the live views over both."""

    def __init__(self, lake: Lake, readers_lake: Lake, directory: Path) -> None:
        self.lake, self.topic = lake, MemoryTopic()
        self.notes: list[str] = []
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._names = count()
        readers_lake.landed.read_only = True
        self.lake.landed.clock = readers_lake.landed.clock = lambda: self.clock()
        tail = Tail(self.topic, readers_lake.connection, readers_lake.empty_record)
        self.tail, self.readers_lake = tail, readers_lake
        hours = LiveHours(readers_lake, tail, FIRST_DAY, directory)
        self.connection = duckdb.connect(":memory:")
        self.connection.execute("SET TimeZone = 'UTC'")
        create_live_views(
            self.connection,
            lambda empty, _: (LiveTables(readers_lake, hours, empty), lambda: None),
            self.notes.append,
            same_cut_seconds=0.0,
        )

    def land(self, partition: int, number: int) -> None:
        """Land the next records of a partition, then commit, as the sink does."""
        first = self.topic.committed[partition]
        records = self.topic.logs[partition][first : first + number]
        if records:
            name = f"{next(self._names):05}"
            path = f"{self.lake.layout.landed_day(records[0]['kafka_timestamp'].date())}{name}"
            write_parquet(self.lake.connection, f"{path}.parquet", records)
            self.topic.committed[partition] = first + len(records)

    def land_all(self) -> None:
        """Land everything."""
        for partition in range(self.topic.partitions):
            self.land(partition, len(self.topic.logs[partition]))

    def rows(self, table: str) -> list[dict[str, Any]]:
        """Return a live table's rows, sorted."""
        return _sorted(self.connection.execute(f"FROM live.{table}"))

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return all live tables' rows."""
        return {table.name: self.rows(table.name) for table in LIVE_TABLES}

    def built(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows that the tables' files have, with their folders' names."""
        rows = {}
        for table in LIVE_TABLES:
            folders = "'day': DATE, 'hour': BIGINT" if table.name == "toots" else "'day': DATE"
            paths = [f.path for f in self.lake.parquet_files(self.lake.layout.table(table.name))]
            text = (
                f"FROM read_parquet({paths}, hive_partitioning := true,"
                f" hive_types := {{{folders}}})"
            )
            rows[table.name] = _sorted(self.lake.connection.execute(text)) if paths else []
        return rows


def _sorted(result: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or ()]
    return sorted((dict(zip(names, row, strict=True)) for row in result.fetchall()), key=repr)


@contextmanager
def live_lake(root: Path, salt: str = "") -> Iterator[LiveLake]:
    """Open a live lake in this directory; its clock stands at half past `HOUR`'s hour."""
    with (
        local_lake(root, salt=salt) as lake,
        local_lake(root, threads=2, salt=salt) as readers_lake,
        TemporaryDirectory() as directory,
    ):
        live = LiveLake(lake, readers_lake, Path(directory))
        live.clock = lambda: HOUR + timedelta(minutes=30)
        with live.connection:
            yield live
