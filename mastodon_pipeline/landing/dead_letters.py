"""The sink's dead letters: records of the topic that Connect put aside instead of landing them.

Bad records are tolerated, so that one cannot stop the sink. But Connect takes a good record for a
bad one while the schema registry is away, so every such letter is an alarm until it is settled:

* `replay --dead-letters` put the record back into the topic, and the broker acknowledged it. A
  note in the dead-letter topic says so; the new offset is checked like every other.
* A person dismissed it as no record; a note says that too.
* Its offset landed after all, since the sink read it again.

A topic that was deleted and made again gives out the same places a second time, while its dead
letters stay. So a letter is newer than every note before it, and of the topic that was there when
it was written.

What precedes the first open letter need not be read again: `landing_completeness` commits that
offset in a consumer group, so that a look at the sink is cheap however many letters there are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Consumer, Message, Producer, TopicPartition

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka import committed, offsets, open_consumer, partitions, read
from mastodon_pipeline.landing.sink_progress import Place, connect_header, header_values, origin
from mastodon_pipeline.settings import Settings

Settled = Literal["put back", "dismissed"]
_PARTITION = 0
"""The dead-letter topic has one, so its letters and notes are in order."""


@dataclass(frozen=True, slots=True)
class SinkLetter:
    """A record of the topic in the dead-letter topic."""

    place: Place
    """Its partition and offset in the topic."""
    offset: int
    """In the dead-letter topic."""
    dead_at: float | None
    """Seconds since 1970, UTC; None if the topic does not date its records."""
    reason: str


@dataclass(frozen=True, slots=True)
class SinkLetters:
    """The sink's dead letters from the first open one on."""

    unsettled: tuple[SinkLetter, ...] = ()
    """Those without a note, the oldest first."""
    settled: Mapping[Place, float | None] = field(default_factory=dict)
    """The records of the topic that have a note, and when they were put aside: seconds since
    1970."""
    end: int = 0
    """The offset up to which the dead-letter topic was read."""
    all_read: bool = True

    @property
    def since(self) -> float | None:
        """When the first unsettled letter was written, in seconds since 1970."""
        return first_dead_at(self.unsettled)


def first_dead_at(letters: Iterable[SinkLetter]) -> float | None:
    """Return when the first of the letters was written, in seconds since 1970, if known."""
    return min((letter.dead_at for letter in letters if letter.dead_at is not None), default=None)


def format_seconds(seconds: float) -> str:
    """Return a time in seconds since 1970 as `YYYY-MM-DD HH:MM:SS`, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%F %T}"


def read_sink_letters(
    settings: Settings, timeout_seconds: float = 60.0, *, all_or_nothing: bool = True
) -> SinkLetters:
    """Return the sink's dead letters; what the listeners put there is passed over.

    Raises KafkaUnavailable; if reading takes longer than `timeout_seconds`, only with
    `all_or_nothing`.
    """
    letters: dict[Place, SinkLetter] = {}
    settled: dict[Place, float | None] = {}
    with open_consumer(settings, group=_group(settings)) as consumer:
        unread = _unread(consumer, settings, timeout_seconds)
        end, all_read = unread.start, True
        try:
            for message in read(
                consumer, settings.dead_letter_topic, {_PARTITION: unread}, timeout_seconds
            ):
                end = (message.offset() or 0) + 1
                _sort(message, settings.kafka_topic, letters, settled)
            end = unread.stop
        except KafkaUnavailable:
            if all_or_nothing:
                raise
            all_read = False
    return SinkLetters(tuple(letters.values()), settled, end, all_read)


def _sort(
    message: Message,
    topic: str,
    letters: dict[Place, SinkLetter],
    settled: dict[Place, float | None],
) -> None:
    """Add a letter to those that are open, or let a note settle one; what is neither is ignored."""
    if (place := origin(message, topic)) is not None:
        settled.pop(
            place, None
        )  # what was settled is the record of an earlier topic, or came again
        letters.setdefault(place, _letter(message, place))
    elif (place := _settled_place(message)) is not None:
        letter = letters.pop(place, None)
        settled[place] = letter.dead_at if letter else _written_at(message)


def commit_settled(settings: Settings, up_to: int) -> None:
    """Note that no letter before this offset of the dead-letter topic is open.

    Raises KafkaUnavailable.
    """
    place = TopicPartition(settings.dead_letter_topic, _PARTITION, up_to)
    with open_consumer(settings, group=_group(settings)) as consumer:
        if partitions(consumer, settings.dead_letter_topic, 10.0):
            consumer.commit(offsets=[place], asynchronous=False)


def write_note(
    producer: Producer, settings: Settings, place: Place, outcome: Settled, detail: str
) -> None:
    """Produce the note that a letter is settled; it counts once the broker has it."""
    producer.produce(
        settings.dead_letter_topic,
        value=b"",
        key=settings.kafka_topic,
        headers=[
            ("settled", outcome),
            ("settled_partition", str(place[0])),
            ("settled_offset", str(place[1])),
            ("event", outcome),
            ("server", "mastodon-pipeline replay"),
            ("reason", detail[:1000].encode("utf-8", "replace")),
        ],
    )


def _group(settings: Settings) -> str:
    return f"{settings.dead_letter_topic}-settled"


def _unread(consumer: Consumer, settings: Settings, timeout_seconds: float) -> range:
    topic = settings.dead_letter_topic
    if not partitions(consumer, topic, timeout_seconds):
        return range(0)
    held = offsets(consumer, topic, timeout_seconds)[_PARTITION]
    settled = committed(consumer, topic, [_PARTITION], timeout_seconds)[_PARTITION]
    # Beyond the end: the topic was made again since.
    return range(settled if held.start <= settled <= held.stop else held.start, held.stop)


def _letter(message: Message, place: Place) -> SinkLetter:
    headers = header_values(message)
    reason = connect_header(headers, "exception.message") or connect_header(
        headers, "exception.class.name"
    )
    return SinkLetter(place, message.offset() or 0, _written_at(message), reason)


def _written_at(message: Message) -> float | None:
    kind, milliseconds = message.timestamp()
    return milliseconds / 1000 if kind == TIMESTAMP_LOG_APPEND_TIME else None


def _settled_place(message: Message) -> Place | None:
    headers = header_values(message)
    partition, offset = headers.get("settled_partition"), headers.get("settled_offset")
    if "settled" not in headers or partition is None or offset is None:
        return None
    return int(partition), int(offset)
