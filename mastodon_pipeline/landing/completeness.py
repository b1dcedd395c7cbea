"""Whether every record of the topic is in the Parquet, checked offset by offset.

The check covers what Kafka still holds and the sink has committed: in each partition the offsets
from the low watermark up to the sink's committed offset. Offsets above are in flight, which is no
error: the sink commits an offset only when the files below it are complete (see `sink_progress`).
Each checked offset must be

* in a landed file, as `_partition` and `_offset` (twice is no error), or in the receipt that
  maintenance wrote before it removed the file, once the hour's `toots` were verified, or
* in the dead-letter topic, by the headers that Connect writes there, or
* no record that can land: a transaction marker or a tombstone, as reading it from Kafka shows.
"""

from dataclasses import dataclass

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.landed_index import index_landed
from mastodon_pipeline.landing.sink_progress import (
    PartitionProgress,
    dead_lettered,
    landable,
    sink_progress,
)
from mastodon_pipeline.settings import Settings

EXAMPLES = 1000
"""Missing offsets of each partition that are listed, and read from Kafka: can they land at all?"""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was checked, and what of it is missing."""

    partitions: tuple[PartitionProgress, ...]
    landed: int
    """Distinct checked offsets that are in the files, or were before maintenance removed these."""
    dead_lettered: int
    """Records of the topic that Connect put in the dead-letter topic, ever."""
    cannot_land: int
    """Offsets that hold no record, or one without a value."""
    missing: int
    """Records lost between Kafka and the object store."""
    examples: tuple[tuple[int, int], ...]
    """Partition and offset of some missing records."""

    @property
    def complete(self) -> bool:
        """Whether nothing is missing."""
        return self.missing == 0

    @property
    def checked(self) -> int:
        """The number of checked offsets."""
        return sum(max(0, partition.committed - partition.low) for partition in self.partitions)

    @property
    def in_flight(self) -> int:
        """The number of offsets that the sink has not committed yet."""
        return sum(partition.lag for partition in self.partitions)


def landing_completeness(settings: Settings, lake: Lake) -> Completeness:
    """Compare the topic's offsets with the landed files, opening only those of changed hours.

    The watermark is read before the files are listed, so a file that lands meanwhile only adds.

    Raises:
        KafkaUnavailable: no broker answers in time.
        ObjectStoreUnavailable: the object store does not answer, or refuses.
        duckdb.Error: a file cannot be read.
    """
    partitions = sink_progress(settings)
    dead_letters = sorted(dead_lettered(settings))
    index_landed(lake)
    counts = lake.connection.execute(
        query("landing/missing_offsets"),
        {
            "partitions": [partition.partition for partition in partitions],
            "lows": [partition.low for partition in partitions],
            "committed": [partition.committed for partition in partitions],
            "dead_partitions": [partition for partition, _ in dead_letters],
            "dead_offsets": [offset for _, offset in dead_letters],
            "examples": EXAMPLES,
        },
    ).fetchall()
    suspects = {(partition, offset) for partition, _, _, offsets in counts for offset in offsets}
    lost = landable(settings, suspects) if suspects else frozenset()
    cannot_land = len(suspects) - len(lost)
    return Completeness(
        partitions=partitions,
        landed=sum(landed for _, landed, _, _ in counts),
        dead_lettered=len(dead_letters),
        cannot_land=cannot_land,
        missing=sum(missing for _, _, missing, _ in counts) - cannot_land,
        examples=tuple(sorted(lost)),
    )
