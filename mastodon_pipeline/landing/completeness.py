"""Is every record of the topic in the Parquet? Counted offset by offset.

Checked is what Kafka still holds and the sink has committed: for each partition the offsets from
the low watermark up to the sink's committed offset. What lies above is in flight, and no error:
the sink commits an offset only when the files below it are complete (see `sink_progress`). Each
checked offset must be

* in a landed file, as `_partition` and `_offset` (twice is no error), or in the receipt that
  maintenance wrote before it removed the file, once the hour's `toots` were verified, or
* in the dead-letter topic, by the headers that Connect writes there, or
* no record that can land: a transaction marker, or a tombstone. Kafka is asked.
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
"""Missing offsets a partition that are named, and of which Kafka is asked whether they can land."""


@dataclass(frozen=True, slots=True)
class Completeness:
    """What was looked at, and what of it is missing."""

    partitions: tuple[PartitionProgress, ...]
    landed: int
    """Distinct offsets below the watermarks that are in the files, or were."""
    dead_lettered: int
    """Records of the topic that Connect put in the dead-letter topic, ever."""
    cannot_land: int
    """Offsets that are no record, or one without a value."""
    missing: int
    """Records that are nowhere: lost between Kafka and the object store."""
    examples: tuple[tuple[int, int], ...]
    """Partition and offset of some that are missing."""

    @property
    def complete(self) -> bool:
        """Nothing is missing."""
        return self.missing == 0

    @property
    def checked(self) -> int:
        """How many offsets were looked for."""
        return sum(max(0, place.committed - place.low) for place in self.partitions)

    @property
    def in_flight(self) -> int:
        """How many offsets the sink has not committed yet."""
        return sum(place.lag for place in self.partitions)


def landing_completeness(settings: Settings, lake: Lake) -> Completeness:
    """Compares the topic's offsets with the landed files; opens those of changed hours alone.

    The watermark is read before the files are listed, so a file that comes meanwhile only adds.

    Raises KafkaUnavailable, ObjectStoreUnavailable, and duckdb.Error where a file cannot be read.
    """
    partitions = sink_progress(settings)
    bad = sorted(dead_lettered(settings))
    index_landed(lake)
    counts = lake.connection.execute(
        query("landing/missing_offsets"),
        {
            "partitions": [place.partition for place in partitions],
            "lows": [place.low for place in partitions],
            "committed": [place.committed for place in partitions],
            "dead_partitions": [partition for partition, _ in bad],
            "dead_offsets": [offset for _, offset in bad],
            "examples": EXAMPLES,
        },
    ).fetchall()
    suspects = {(partition, offset) for partition, _, _, first in counts for offset in first}
    lost = landable(settings, suspects) if suspects else frozenset()
    cannot_land = len(suspects) - len(lost)
    return Completeness(
        partitions=partitions,
        landed=sum(landed for _, landed, _, _ in counts),
        dead_lettered=len(bad),
        cannot_land=cannot_land,
        missing=sum(missing for _, _, missing, _ in counts) - cannot_land,
        examples=tuple(sorted(lost)),
    )
