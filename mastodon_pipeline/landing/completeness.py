"""Whether every record of the topic is in the Parquet, checked offset by offset.

Two stretches of each partition's offsets are checked:

* What Kafka still holds and the sink has committed. Offsets above are in flight, which is no
  error: the sink commits an offset only when the files below it are complete (see
  `sink_progress`). What is nowhere is missing.
* What Kafka no longer holds. What is nowhere there was removed by retention before the sink had
  read it, and is lost.

Each checked offset must be

* in a landed file, as `kafka_partition` and `kafka_offset` (twice is no error), or in the receipt
  that maintenance wrote before it removed the file, once the hour's `toots` were verified, or
* settled: in the dead-letter topic, and put back or dismissed since (`dead_letters`), or
* no record that can land: a transaction marker or a tombstone, as reading it from Kafka shows.

Only what Kafka took since the present topic exists counts: one that was made again, after a loss of
Kafka's data or by hand, gives out the same offsets (see `generations`). How far an earlier topic
had come when a check last saw it is remembered, and what of it never landed is lost, too.

What an earlier topic lost is no loss of toots once listeners have gone on from what had landed
(`listening.topic.landed_positions`); by server, the ledger balances it. A person may accept the
rest (`accepted_offsets`).

The last two are remembered in the lake, since Kafka forgets both. A dead letter that is not
settled is counted by itself, wherever its offset is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import duckdb

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.accepted_offsets import load_accepted_offsets
from mastodon_pipeline.landing.dead_letters import (
    SinkLetter,
    commit_settled,
    first_dead_at,
    read_sink_letters,
)
from mastodon_pipeline.landing.generations import Generations, load_need_not_land
from mastodon_pipeline.landing.landed_index import index_landed, load_ranges
from mastodon_pipeline.landing.sink_progress import (
    PartitionProgress,
    Place,
    landable,
    sink_progress,
)
from mastodon_pipeline.listening.topic.positions import read_positions
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
    """Records in the sink's dead letters that neither landed nor were settled."""
    dead_lettered_since: float | None
    """When the first of them was put there, in seconds since 1970, if known."""
    cannot_land: int
    """Offsets that Kafka holds without a record, or with one without a value, or settled."""
    missing: int
    """Records lost between Kafka and the object store, which Kafka still holds."""
    lost: int
    """Records that retention removed from Kafka before they landed."""
    lost_with_topics: int
    """Records of earlier topics of this name, as far as checks saw these, that never landed."""
    began: datetime | None
    """Since when there is the present topic, UTC, if there was another before."""
    examples: tuple[Place, ...]
    """Partition and offset of some missing records."""
    lost_examples: tuple[Place, ...]
    """Partition and offset of some lost records, the first of each partition."""
    accepted: int = 0
    """How many offsets a person has accepted to be lost."""
    read_again: bool = False
    """Listeners went on from what had landed when the earlier topic was gone, so they have read
    again what it had and the sink had not."""

    @property
    def offsets_lost(self) -> int:
        """What no file holds, and nobody has put aside or read again."""
        return self.missing + self.lost + (0 if self.read_again else self.lost_with_topics)

    @property
    def complete(self) -> bool:
        """Whether nothing is in the dead letters, and nothing lost but what a person accepted."""
        return self.offsets_lost <= self.accepted and not self.dead_lettered

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
    letters = read_sink_letters(settings)
    index_landed(lake)
    generations = Generations(lake, settings, partitions)
    load_ranges(lake, **generations.bounds())
    need_not_land = _NeedNotLand(lake, generations)
    began = generations.bounds()["began"]
    settled = [place for place, dead_at in letters.settled.items() if _since(began, dead_at)]
    need_not_land.add(settled, "settled")
    present = [letter for letter in letters.unsettled if _since(began, letter.dead_at)]
    dead = _dead(lake.connection, present, need_not_land.places())
    excused = need_not_land.places() | {letter.place for letter in dead}
    # Of an earlier topic: their places are those of other records now.
    dead += tuple(letter for letter in letters.unsettled if letter not in present)
    landed, missing, suspects = _missing(
        lake.connection,
        excused,
        {p.partition: range(p.low, max(p.low, p.committed)) for p in partitions},
    )
    absent = landable(settings, suspects) if suspects else frozenset()
    need_not_land.add(suspects - absent, "no record")
    _, lost, lost_examples = _missing(
        lake.connection, excused, {p.partition: range(p.low) for p in partitions}
    )
    earlier = _lost_with_topics(lake, generations, need_not_land)
    if need_not_land.bucket_exists:
        generations.save()
        need_not_land.save()  # first: what the committed letters say is not read again
        commit_settled(settings, min((letter.offset for letter in dead), default=letters.end))
    held = {p.partition: range(p.low, p.committed) for p in partitions}
    return Completeness(
        partitions=partitions,
        landed=landed,
        dead_lettered=len(dead),
        dead_lettered_since=first_dead_at(dead),
        cannot_land=sum(
            offset in held.get(number, ()) for number, offset in need_not_land.places()
        ),
        missing=missing - len(suspects - absent),
        lost=lost,
        lost_with_topics=earlier,
        began=began,
        examples=tuple(sorted(absent)),
        lost_examples=tuple(sorted(lost_examples)),
        accepted=load_accepted_offsets(lake).records,
        read_again=bool(earlier) and _read_again(settings, generations.present),
    )


def _since(began: datetime | None, seconds: float | None) -> bool:
    """Return whether a letter was written since then, in seconds since 1970; None: it counts so."""
    return began is None or seconds is None or seconds >= began.timestamp()


def _read_again(settings: Settings, topic_id: str) -> bool:
    return any(position.from_landed for position in read_positions(settings, topic_id).values())


class _NeedNotLand:
    """The offsets that earlier checks, and this one, saw to hold nothing that has to land."""

    def __init__(self, lake: Lake, generations: Generations) -> None:
        self._connection = lake.connection
        self._topic_id = generations.present
        self._path = lake.layout.need_not_land()
        self._grew = False
        lake.connection.execute(query("landing/need_not_land"))
        self.bucket_exists = True
        try:
            stored = lake.parquet_files(self._path)
        except BucketMissing:
            stored, self.bucket_exists = [], False  # the sink's job creates it
        if stored:
            first = generations.all[0].topic_id if generations.all else ""
            load_need_not_land(lake.connection, self._path, first)

    def places(self, topic_id: str | None = None) -> frozenset[Place]:
        """Return those of the present topic, or of another."""
        rows = self._connection.execute(
            "SELECT kafka_partition, kafka_offset FROM need_not_land WHERE topic_id = ?",
            [self._topic_id if topic_id is None else topic_id],
        )
        return frozenset(rows.fetchall())

    def add(self, places: Iterable[Place], reason: str) -> None:
        values = {**_columns(places), "reason": reason, "topic_id": self._topic_id}
        added = self._connection.execute(query("landing/add_need_not_land"), values).fetchall()
        self._grew = self._grew or bool(added)

    def save(self) -> None:
        if self._grew:
            values = {"path": self._path}
            self._connection.execute(query("landing/save_need_not_land"), values)


def _lost_with_topics(lake: Lake, generations: Generations, need_not_land: _NeedNotLand) -> int:
    """Return how many records of earlier topics, as far as checks saw these, never landed."""
    lost = 0
    for number, generation in enumerate(generations.all[:-1]):
        load_ranges(lake, **generations.bounds(number))
        excused = need_not_land.places(generation.topic_id)
        offsets = {partition: range(end) for partition, end in generation.ends.items()}
        lost += _missing(lake.connection, excused, offsets)[1]
    return lost


def _dead(
    connection: duckdb.DuckDBPyConnection,
    letters: Iterable[SinkLetter],
    settled: frozenset[Place],
) -> tuple[SinkLetter, ...]:
    """Return the letters whose records neither landed nor need to land."""
    places = {letter.place for letter in letters} - settled
    if not places:
        return ()
    rows = connection.execute(query("landing/not_landed"), _columns(places)).fetchall()
    not_landed = set(rows)
    return tuple(letter for letter in letters if letter.place in not_landed)


def _missing(
    connection: duckdb.DuckDBPyConnection, excused: frozenset[Place], checked: dict[int, range]
) -> tuple[int, int, frozenset[Place]]:
    """Return how many of the checked offsets landed, how many are nowhere, and the first of these.

    `checked`: by partition. `excused`: what need not have landed.
    """
    dead = _columns(excused)
    counts = connection.execute(
        query("landing/missing_offsets"),
        {
            "partitions": list(checked),
            "lows": [offsets.start for offsets in checked.values()],
            "committed": [offsets.stop for offsets in checked.values()],
            "dead_partitions": dead["partitions"],
            "dead_offsets": dead["offsets"],
            "examples": EXAMPLES,
        },
    ).fetchall()
    return (
        sum(landed for _, landed, _, _ in counts),
        sum(missing for _, _, missing, _ in counts),
        frozenset((number, offset) for number, _, _, offsets in counts for offset in offsets),
    )


def _columns(places: Iterable[Place]) -> dict[str, list[int]]:
    ordered = sorted(places)
    return {
        "partitions": [number for number, _ in ordered],
        "offsets": [offset for _, offset in ordered],
    }
