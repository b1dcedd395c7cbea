"""The topic's tail: the records that the sink has not landed, in the connection's table `tail`.

The tail is kept from one reading to the next: only what is new is read and decoded, and what the
sink has committed since leaves it.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import duckdb
from msgspec.structs import astuple

from mastodon_pipeline.lake.contents import BROUGHT
from mastodon_pipeline.lake.landed import IndexedHour
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.sink_progress import PartitionProgress
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.live.topic import TailRecord, Topic

MAX_RECORDS = 200_000
"""Records of the tail that are held: half an hour at 100 a second; 150 MB. The sink that is further
behind has stopped, and `sink_lag` is red."""
MAX_SECONDS = 15.0
"""How long a reading may take: 200,000 records take about eight seconds of a core."""
CLOCK_MARGIN = timedelta(hours=1)
"""How much Kafka's clock may be behind ours."""
_READ_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class TailState:
    """The tail after a reading."""

    landed_since: date | None
    """The oldest UTC day of arrival of records that have landed since the last reading."""
    unknown_landed: bool
    """Records are landed of which nobody knows the day: it is the first reading, or the one before
    was cut short, or it was of another topic."""
    behind: int
    """Records beyond the bound, which the tail does not have."""
    hours: Mapping[datetime, str] = field(default_factory=dict)
    """By post hour (its start, UTC): a text that changes with the hour's records in the tail."""
    vouched: Mapping[datetime | None, IndexedHour] = field(default_factory=dict)
    """By post hour, as of landed files: whether somebody vouches for its records' times."""


class Tail:
    """Reads the tail into `tail`: the record's columns and the sink's."""

    def __init__(
        self,
        topic: Topic,
        connection: duckdb.DuckDBPyConnection,
        empty_record: str,
        max_records: int = MAX_RECORDS,
        max_seconds: float = MAX_SECONDS,
    ) -> None:
        self._topic, self._connection = topic, connection
        self._max_records, self._max_seconds = max_records, max_seconds
        self._identity: str | None = None
        self._committed: dict[int, int] = {}
        self._next: dict[int, int] = {}
        """By partition: the first offset that was not read yet."""
        self._complete_at: datetime | None = None
        """When the last reading began, if it left nothing: what it did not see came later."""
        connection.execute(query("usage/live/tail"), {"empty_record": empty_record})

    def advance(self) -> TailState:
        """Read from the sink's place to the end, as both are now.

        Raises what the topic's methods raise.
        """
        for _ in range(_READ_ATTEMPTS):
            identity = self._topic.identity()
            partitions = self._topic.progress()
            if identity != self._identity or self._went_back(partitions):
                self._start_over(identity)
            state = self._advance(partitions)
            if self._topic.identity() == identity:
                break
        return state

    def _went_back(self, partitions: Sequence[PartitionProgress]) -> bool:
        return any(
            partition.committed < self._committed.get(partition.partition, 0)
            or partition.end < self._next.get(partition.partition, 0)
            for partition in partitions
        )

    def _start_over(self, identity: str) -> None:
        self._identity = identity
        self._committed, self._next, self._complete_at = {}, {}, None
        self._connection.execute("DELETE FROM tail")

    def _advance(self, partitions: Sequence[PartitionProgress]) -> TailState:
        passed_by = any(
            self._next.get(partition.partition, 0) < partition.committed for partition in partitions
        )
        self._committed = {partition.partition: partition.committed for partition in partitions}
        days = self._drop_committed()
        if passed_by and self._complete_at is not None:
            days.append((self._complete_at - CLOCK_MARGIN).date())
        unknown = passed_by and self._complete_at is None
        began = datetime.now(UTC)
        share = self._max_records // max(1, len(partitions))
        ranges = {}
        behind = 0
        for partition in partitions:
            number = partition.partition
            start = max(self._next.get(number, 0), partition.committed, partition.low)
            stop = min(partition.end, max(partition.committed, partition.low) + share)
            ranges[number] = range(start, max(start, stop))
            behind += partition.end - ranges[number].stop
            self._next[number] = start
        behind += self._read(ranges)
        self._complete_at = None if behind else began
        values = {"brought": list(BROUGHT)}
        rows = self._connection.execute(query("usage/live/tail_hours"), values).fetchall()
        return TailState(
            min(days, default=None),
            unknown,
            behind,
            {hour: text for hour, text, *_ in rows},
            {hour: IndexedHour(began, *counts) for hour, _, *counts in rows},
        )

    def _drop_committed(self) -> list[date]:
        if not self._committed:
            return []
        values = {
            "partitions": list(self._committed),
            "committed": list(self._committed.values()),
        }
        days = self._connection.execute(query("usage/live/tail_committed"), values).fetchall()
        return list({day for (day,) in days})

    def _read(self, ranges: Mapping[int, range]) -> int:
        """Read the ranges into the table; return how many offsets are left at the time's end."""
        if not any(ranges.values()):
            return 0
        deadline = time.monotonic() + self._max_seconds
        arrived: list[TailRecord] = []
        for message in self._topic.read(ranges, 2 * self._max_seconds):
            arrived.append(message)
            self._next[message.partition] = message.offset + 1
            if time.monotonic() > deadline:
                break
        else:
            self._next |= {number: offsets.stop for number, offsets in ranges.items()}
        self._insert([message for message in arrived if message.record is not None])
        return sum(offsets.stop - self._next[number] for number, offsets in ranges.items())

    def _insert(self, messages: Sequence[TailRecord]) -> None:
        if not messages:
            return
        import pyarrow  # type: ignore[import-untyped]  # here: a tenth of a second, for whoever asks live

        rows = [astuple(message.record) for message in messages if message.record is not None]
        columns = dict(zip(TootRecord.__struct_fields__, zip(*rows, strict=True), strict=True))
        table = pyarrow.table(
            {
                **{
                    item.name: pyarrow.array(columns[item.name], _arrow_type(item.duckdb_type))
                    for item in record_fields()
                },
                "kafka_partition": pyarrow.array([m.partition for m in messages], pyarrow.int32()),
                "kafka_offset": pyarrow.array([m.offset for m in messages], pyarrow.int64()),
                "kafka_timestamp": pyarrow.array(
                    [m.timestamp_ms for m in messages], pyarrow.timestamp("ms", "UTC")
                ),
            }
        )
        self._connection.register("arrived", table)
        try:
            self._connection.execute("INSERT INTO tail BY NAME FROM arrived")
        finally:
            self._connection.unregister("arrived")


def _arrow_type(duckdb_type: str) -> object:
    import pyarrow

    types = {
        "VARCHAR": pyarrow.string(),
        "BOOLEAN": pyarrow.bool_(),
        "INTEGER": pyarrow.int32(),
        "BIGINT": pyarrow.int64(),
        "FLOAT": pyarrow.float32(),
        "DOUBLE": pyarrow.float64(),
        "TIMESTAMPTZ": pyarrow.timestamp("ms", "UTC"),
    }
    if duckdb_type.endswith("[]"):
        return pyarrow.list_(types[duckdb_type.removesuffix("[]")])
    return types[duckdb_type]
