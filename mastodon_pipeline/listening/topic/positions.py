"""The listeners' positions in a compacted Kafka topic, so that they survive any machine.

Key: base URL and feed. Value: JSON with `last_id`, the id up to which the feed is acknowledged;
`unfilled_gaps`, what is missing before it; `discovered`, the server's description of itself; and
`written_at`, ISO 8601 UTC. Written every few seconds if something has changed; after a crash in
between, the next listener reads some toots again, never fewer.
"""

from datetime import UTC, datetime

import msgspec
from confluent_kafka import Producer

from mastodon_pipeline.kafka import offsets, open_consumer, read
from mastodon_pipeline.listening.following.position_store import SavedPosition, feed_key
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.topic.tallies import produce_tally
from mastodon_pipeline.servers import canonical_base_url
from mastodon_pipeline.settings import Settings

_READ_SECONDS = 20.0
_FLUSH_SECONDS = 5.0


class _Value(SavedPosition, frozen=True, kw_only=True):
    written_at: str


class KafkaPositions:
    """A `PositionStore` on the topics `settings.positions_topic` and `settings.tallies_topic`."""

    def __init__(self, producer: Producer, settings: Settings) -> None:
        self._producer = producer
        self._settings = settings

    def write(self, key: str, position: SavedPosition) -> None:
        """Produce one position; it is safe after `flush`."""
        topic, value = self._settings.positions_topic, encode_position(position)
        try:
            self._producer.produce(topic, key=key.encode(), value=value)
        except BufferError:
            return  # The next position, seconds later, replaces this one anyway.

    def write_tally(self, tally: SavedTally) -> bool:
        """Produce one tally beside the positions; False if the queue is full."""
        return produce_tally(self._producer, self._settings, tally)

    def flush(self) -> None:
        """Wait for the broker, 5 s at most; what is not acknowledged then is read again."""
        self._producer.flush(_FLUSH_SECONDS)

    def read(self) -> dict[str, SavedPosition]:
        """Read the whole topic, which compaction keeps small. Raises KafkaUnavailable."""
        topic = self._settings.positions_topic
        positions: dict[str, SavedPosition] = {}
        with open_consumer(self._settings) as consumer:
            ranges = offsets(consumer, topic, _READ_SECONDS)
            for message in read(consumer, topic, ranges, _READ_SECONDS):
                key, value = message.key(), message.value()
                if key and value:
                    positions[current_key(key.decode())] = decode_position(value)
        return positions


def current_key(key: str) -> str:
    """Return the feed's key by its server's name now; the listener once kept other spellings.

    Of two spellings the position that was written last counts: it comes last in the topic.
    """
    base_url, _, feed = key.rpartition(" ")
    return feed_key(canonical_base_url(base_url), feed)


def encode_position(position: SavedPosition) -> bytes:
    """Return the value of a position's record, written now."""
    return msgspec.json.encode(
        _Value(
            last_id=position.last_id,
            unfilled_gaps=position.unfilled_gaps,
            instance=position.instance,
            wanted_since_ms=position.wanted_since_ms,
            written_at=datetime.now(UTC).isoformat(),
        )
    )


def decode_position(value: bytes) -> SavedPosition:
    """Return the position in a record's value, whichever version of the listener wrote it."""
    return msgspec.json.decode(value, type=SavedPosition)
