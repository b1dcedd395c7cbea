"""The listeners' tallies in a compacted Kafka topic, for the ledger.

Key: run, base URL and hour. Value: JSON of `SavedTally`. Written every ten seconds if something has
changed, and at the end. Only acknowledged records are counted as such, so a tally never claims more
than Kafka has; a listener that is killed leaves at most ten seconds of them untallied.
"""

from contextlib import suppress

import msgspec
from confluent_kafka import KafkaException, Producer

from mastodon_pipeline.kafka import offsets, open_consumer, partitions, read
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.settings import Settings

_READ_SECONDS = 60.0


def produce_tally(producer: Producer, settings: Settings, tally: SavedTally) -> bool:
    """Produce a tally; return False if the producer's queue is full, or the topic gone."""
    try:
        producer.produce(
            settings.tallies_topic, key=tally.key.encode(), value=msgspec.json.encode(tally)
        )
    except (BufferError, KafkaException):
        return False
    return True


def read_tallies(settings: Settings) -> dict[str, SavedTally]:
    """Return the latest tally of each key; none if there is no topic. Raises KafkaUnavailable."""
    topic = settings.tallies_topic
    tallies: dict[str, SavedTally] = {}
    with open_consumer(settings) as consumer:
        if not partitions(consumer, topic, _READ_SECONDS):
            return {}
        ranges = offsets(consumer, topic, _READ_SECONDS)
        for message in read(consumer, topic, ranges, _READ_SECONDS):
            with suppress(msgspec.MsgspecError):  # not one of ours
                tally = msgspec.json.decode(message.value() or b"", type=SavedTally)
                tallies[tally.key] = tally
    return tallies
