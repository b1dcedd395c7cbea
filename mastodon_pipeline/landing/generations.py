"""Which topic the offsets belong to: one that was made again gives out the same ones a second time.

After a loss of Kafka's data, or if somebody deletes the topic, the next topic of the same name has
another id, and its offsets start at 0 again. What landed of an earlier topic says nothing about the
present one. So each topic that a check has seen is remembered in the lake, by its id: from when its
records are, and how far it had come.

A landed record belongs to the topic that existed when Kafka took it (`kafka_timestamp`).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.kafka import open_consumer, read, topic_id
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.sink_progress import PartitionProgress
from mastodon_pipeline.settings import Settings

_READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Generation:
    """A topic of the settings' name."""

    topic_id: str
    began: datetime | None
    """Its records are not older than this, UTC; None for the first that was seen."""
    seen_at: datetime
    """When a check saw it last, UTC."""
    ends: dict[int, int]
    """By partition: the offset that the next record would have got then."""


class Generations:
    """The topics that checks have seen, the present one last."""

    def __init__(self, lake: Lake, settings: Settings, partitions: Sequence[PartitionProgress]):
        """Load them, and add the present topic, or note how far it is.

        Raises KafkaUnavailable.
        """
        self._lake, self._path = lake, lake.layout.topic_generations()
        self.all = self._load()
        present = topic_id(settings, settings.kafka_topic)
        ends = {partition.partition: partition.end for partition in partitions}
        now = datetime.now(UTC)
        if present is None:  # there is no topic, or the broker has no ids
            return
        if self.all and self.all[-1].topic_id == present:
            self.all[-1] = Generation(present, self.all[-1].began, now, ends)
        else:
            began = _began(settings, partitions, self.all[-1].seen_at, now) if self.all else None
            self.all.append(Generation(present, began, now, ends))

    @property
    def present(self) -> str:
        """The id of the present topic; '' if it is unknown."""
        return self.all[-1].topic_id if self.all else ""

    def bounds(self, number: int = -1) -> dict[str, datetime | None]:
        """Return since when records are of a topic, and until when; None: without a bound."""
        if not self.all:
            return {"began": None, "ended": None}
        number %= len(self.all)
        ended = self.all[number + 1].began if number + 1 < len(self.all) else None
        return {"began": self.all[number].began, "ended": ended}

    def save(self) -> None:
        """Save them for the next check."""
        rows = [
            (generation.topic_id, generation.began, generation.seen_at, *end)
            for generation in self.all
            for end in generation.ends.items()
        ]
        if not rows:
            return
        ids, began, seen_at, partitions, ends = zip(*rows, strict=True)
        values = {
            "ids": list(ids),
            "began": list(began),
            "seen_at": list(seen_at),
            "partitions": list(partitions),
            "ends": list(ends),
            "path": self._path,
        }
        self._lake.connection.execute(query("landing/save_generations"), values)

    def _load(self) -> list[Generation]:
        by_id: dict[str, Generation] = {}
        with suppress(BucketMissing):
            if not self._lake.parquet_files(self._path):
                return []
            values = {"path": self._path}
            rows = self._lake.connection.execute(query("landing/load_generations"), values)
            for identity, began, seen_at, partition, end in rows.fetchall():
                generation = Generation(identity, began, seen_at, {})
                by_id.setdefault(identity, generation).ends[partition] = end
        return list(by_id.values())


def _began(
    settings: Settings, partitions: Sequence[PartitionProgress], before: datetime, now: datetime
) -> datetime:
    """Return a time that no record of a new topic precedes, UTC; `before`: when the last was seen.

    Its oldest record tells, unless retention has removed that: then all that is certain is that
    the earlier topic was still there at `before`.
    """
    if any(partition.low > 0 for partition in partitions):
        return before
    firsts = {p.partition: range(1) for p in partitions if p.end > 0}
    with open_consumer(settings) as consumer:
        messages = read(consumer, settings.kafka_topic, firsts, _READ_SECONDS)
        times = [message.timestamp()[1] for message in messages]
    return min((datetime.fromtimestamp(ms / 1000, UTC) for ms in times), default=now)


def load_need_not_land(connection: duckdb.DuckDBPyConnection, path: str, first: str) -> None:
    """Load the offsets that need not land; those of a file of an older version are topic `first`'s.

    Before 2026-11-26 they were stored without the topic's id.
    """
    try:
        connection.execute(query("landing/load_need_not_land"), {"path": path})
    except duckdb.BinderException:
        values = {"path": path, "topic_id": first}
        connection.execute(query("landing/load_need_not_land_of_old"), values)
