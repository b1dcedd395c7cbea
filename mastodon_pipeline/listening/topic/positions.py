"""The listeners' positions in a compacted Kafka topic, so that they survive any machine.

Key: base URL and feed. Value: JSON with `last_id`, the id up to which the feed is acknowledged;
`unfilled_gaps`, what is missing before it; `discovered`, the server's description of itself;
`robots`, what its hosts' robots.txt said; `written_at`, ISO 8601 UTC; and `topic_id`, of the topic
that has what it covers. Written every few seconds if something has changed; after a crash in
between, the next listener reads some toots again, never fewer.

**What can be lost here, and what protects it.** Kafka's data, with the positions and with records
that the sink had not read. A topic that is made again has another id: within seconds a listener
notices and ends, and its positions count no more. The next one goes on from the positions that have
landed, a copy in the lake (`landed_positions`), and so reads again what was lost, as far as the
servers' timelines have it.
"""

import logging
import time
from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
from confluent_kafka import KafkaException, Producer

from mastodon_pipeline.errors import KafkaUnavailable, TopicReplaced
from mastodon_pipeline.kafka import offsets, open_consumer, partitions, read, topic_id
from mastodon_pipeline.listening.following.position_store import SavedPosition, feed_key
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.topic.landed_positions import resume_from_landed
from mastodon_pipeline.listening.topic.tallies import produce_tally
from mastodon_pipeline.servers import canonical_base_url
from mastodon_pipeline.settings import Settings

_READ_SECONDS = 20.0
_FLUSH_SECONDS = 5.0
_CHECK_SECONDS = 3.0
_CREATED_SECONDS = 3.0
_log = logging.getLogger(__name__)


class _Value(SavedPosition, frozen=True, kw_only=True):
    written_at: str = ""
    topic_id: str = ""


class KafkaPositions:
    """A `PositionStore` on the topics `settings.positions_topic` and `settings.tallies_topic`."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        """Ask for the id of the present topic. Raises KafkaUnavailable."""
        self._producer = producer
        self._settings = settings
        self._topic_id = _present_topic(settings)

    def write(self, key: str, position: SavedPosition) -> None:
        """Produce one position; it is safe after `flush`."""
        topic, value = self._settings.positions_topic, encode_position(position, self._topic_id)
        try:
            self._producer.produce(topic, key=key.encode(), value=value)
        except (BufferError, KafkaException):  # the queue is full, or the topic gone
            return  # The next position, seconds later, replaces this one anyway.

    def write_tally(self, tally: SavedTally) -> bool:
        """Produce one tally beside the positions; False if the queue is full."""
        tally = msgspec.structs.replace(tally, topic_id=self._topic_id)
        return produce_tally(self._producer, self._settings, tally)

    def flush(self) -> None:
        """Wait for the broker, 5 s at most; what is not acknowledged then is read again."""
        self._producer.flush(_FLUSH_SECONDS)

    def read(self, feeds: Collection[str] = ()) -> dict[str, SavedPosition]:
        """Read the whole topic, which compaction keeps small, and the lake for feeds not in it.

        Raises KafkaUnavailable; for a feed that is not in Kafka, ObjectStoreUnavailable, too: it
        may have been.
        """
        positions = read_positions(self._settings, self._topic_id)
        missing = [feed for feed in feeds if feed not in positions]
        landed = resume_from_landed(self._settings, missing) if missing else {}
        if landed:
            _log.warning("Kafka has no position of %s: reading on from what landed", list(landed))
        return positions | landed

    def check(self) -> None:
        """Raise TopicReplaced if the topic is not the one that was there at the beginning."""
        if not self._topic_id:
            return  # the broker has no ids
        with suppress(KafkaUnavailable):
            present = topic_id(self._settings, self._settings.kafka_topic, _CHECK_SECONDS)
            if present != self._topic_id:
                raise TopicReplaced(
                    f"{self._settings.kafka_topic} was deleted, or made again: what it had"
                    " acknowledged is gone; the next listener reads on from what has landed"
                )


def _present_topic(settings: Settings) -> str:
    """Return the topic's id, '' if the broker has no ids.

    A topic that was created a moment ago may not be known to each broker yet.
    """
    deadline = time.monotonic() + _CREATED_SECONDS
    while (present := topic_id(settings, settings.kafka_topic)) is None:
        if time.monotonic() > deadline:
            return ""
        time.sleep(0.2)
    return present


def read_positions(settings: Settings, topic: str) -> dict[str, SavedPosition]:
    """Return the positions of feeds in the topic with this id; none if nothing was ever saved.

    Those of an earlier topic say nothing about what Kafka has now. Raises KafkaUnavailable.
    """
    values: dict[str, _Value] = {}
    with open_consumer(settings) as consumer:
        if not partitions(consumer, settings.positions_topic, _READ_SECONDS):
            return {}
        ranges = offsets(consumer, settings.positions_topic, _READ_SECONDS)
        for message in read(consumer, settings.positions_topic, ranges, _READ_SECONDS):
            key, value = message.key(), message.value()
            if key and value:
                values[current_key(key.decode())] = msgspec.json.decode(value, type=_Value)
    return {key: _position(value) for key, value in values.items() if value.topic_id in ("", topic)}


def current_key(key: str) -> str:
    """Return the feed's key by its server's name now; the listener once kept other spellings.

    Of two spellings the position that was written last counts: it comes last in the topic.
    """
    base_url, _, feed = key.rpartition(" ")
    return feed_key(canonical_base_url(base_url), feed)


def encode_position(position: SavedPosition, topic: str = "") -> bytes:
    """Return the value of a position's record, written now; `topic`: the topic's id."""
    return msgspec.json.encode(
        _Value(
            last_id=position.last_id,
            unfilled_gaps=position.unfilled_gaps,
            instance=position.instance,
            wanted_since_ms=position.wanted_since_ms,
            robots=position.robots,
            from_landed=position.from_landed,
            written_at=datetime.now(UTC).isoformat(),
            topic_id=topic,
        )
    )


def decode_position(value: bytes) -> SavedPosition:
    """Return the position in a record's value, whichever version of the listener wrote it."""
    return msgspec.json.decode(value, type=SavedPosition)


def _position(value: _Value) -> SavedPosition:
    names = SavedPosition.__struct_fields__
    return SavedPosition(**{name: getattr(value, name) for name in names})
