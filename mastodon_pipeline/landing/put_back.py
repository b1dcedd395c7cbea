"""Puts the records in the sink's dead letters back into the topic, those that are records."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message

from mastodon_pipeline.errors import DeliveryFailed, UnrecordableToot
from mastodon_pipeline.kafka import open_consumer, read
from mastodon_pipeline.landing.dead_letters import Settled, read_sink_letters, write_note
from mastodon_pipeline.landing.sink_progress import Place
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.listening.topic.producer import kafka_producer
from mastodon_pipeline.listening.topic.registry import WritersSchemas, register
from mastodon_pipeline.listening.topic.topics import ensure_listening_topics
from mastodon_pipeline.settings import Settings

_READ_SECONDS = 600.0
_FLUSH_SECONDS = 60.0
_MAX_REASONS = 20


@dataclass(slots=True)
class PutBack:
    """What became of the sink's dead letters."""

    letters: int = 0
    """Those that were neither put back nor dismissed before."""
    acknowledged: int = 0
    """Records that are in the topic again."""
    bad: int = 0
    """Letters that hold no record."""
    reasons: list[str] = field(default_factory=list)
    """Of the first bad letters: where each was in the topic, and why it is no record."""


def put_back(settings: Settings, *, dismiss: bool = False) -> PutBack:
    """Send each record in the sink's dead letters to the topic again, once.

    A record is what the registry's schemas decode. With `dismiss`, what is none is noted as
    settled, so that no light stays red for it. Doing it again goes on with what is left.

    **What can be lost here:** nothing. A letter is settled by a note that is written once the
    broker has acknowledged its record; if this dies in between, the record comes twice, and counts
    once.

    Raises:
        KafkaUnavailable: no broker answers.
        RegistryUnavailable: the schema registry does not answer.
        DeliveryFailed: Kafka did not take everything; the rest is still in the dead letters.
    """
    ensure_listening_topics(settings)
    letters = read_sink_letters(settings, _READ_SECONDS)
    unsettled = {letter.offset: letter.place for letter in letters.unsettled}
    result = PutBack(letters=len(unsettled))
    if not unsettled:
        return result
    schemas, sender = WritersSchemas(settings), _Sender(settings)
    with open_consumer(settings) as consumer:
        ranges = {0: range(min(unsettled), letters.end)}
        for message in read(consumer, settings.dead_letter_topic, ranges, _READ_SECONDS):
            place = unsettled.get(-1 if (offset := message.offset()) is None else offset)
            if place is None:
                continue
            try:
                sender.put_back(place, _record(message, schemas))
            except (ValueError, UnrecordableToot) as error:
                result.bad += 1
                if len(result.reasons) < _MAX_REASONS:
                    result.reasons.append(f"partition {place[0]}, offset {place[1]}: {error}")
                if dismiss:
                    sender.note(place, "dismissed", str(error))
    sender.close()
    result.acknowledged = sender.acknowledged
    return result


class _Sender:
    """Sends records to the topic, and a note to the dead letters once the broker has each."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._schema_id = register(settings)
        self._producer = kafka_producer(settings)
        self._delivered: list[tuple[Place, str]] = []
        """Where records were, and where they are now; their notes are to be written."""
        self._failures: list[str] = []
        self.acknowledged = 0

    def put_back(self, place: Place, record: TootRecord) -> None:
        """Send a record. Raises UnrecordableToot if it does not fit the schema."""
        value = encode(record, self._schema_id)
        self._produce(
            lambda: self._producer.produce(
                self._settings.kafka_topic,
                value,
                record.key,
                on_delivery=partial(self._report, place),
            )
        )
        self._write_notes()

    def note(self, place: Place, outcome: Settled, detail: str) -> None:
        """Write the note that a letter is settled."""
        self._produce(lambda: write_note(self._producer, self._settings, place, outcome, detail))

    def close(self) -> None:
        """Wait for the broker. Raises DeliveryFailed if something was not acknowledged."""
        left = self._producer.flush(_FLUSH_SECONDS)
        self._write_notes()  # of the records that were acknowledged just now
        left += self._producer.flush(_FLUSH_SECONDS)
        if left or self._failures:
            reason = self._failures[0] if self._failures else f"none within {_FLUSH_SECONDS:g} s"
            raise DeliveryFailed(
                f"{left + len(self._failures)} records or notes have no acknowledgement "
                f"({reason}); what has no note stays in the dead letters: run this again"
            )

    def _write_notes(self) -> None:
        self._producer.poll(0)
        while self._delivered:
            place, detail = self._delivered.pop()
            self.note(place, "put back", detail)

    def _produce(self, produce: Callable[[], None]) -> None:
        while True:
            try:
                return produce()
            except BufferError:
                self._producer.poll(0.1)  # the queue is full
            except KafkaException as error:
                self._failures.append(error.args[0].str())
                return None

    def _report(self, place: Place, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._failures.append(error.str())
            return
        self.acknowledged += 1
        self._delivered.append(
            (place, f"put back as partition {message.partition()}, offset {message.offset()}")
        )


def _record(message: Message, schemas: WritersSchemas) -> TootRecord:
    record = decode(message.value() or b"", schemas)
    if not record.uri and not (record.status_id and record.base_url):
        raise ValueError("neither a uri nor an id on a server says which toot this is")
    return record
