"""What former listeners wrote last, read back from the topic, so that deletes find their toots.

A delete carries nothing but the observing server's id. Most deletes come within minutes, so the
end of the topic has most of the toots that they mean, whichever listener recorded them.
"""

import logging

from mastodon_pipeline.errors import KafkaUnavailable
from mastodon_pipeline.kafka import offsets, open_consumer, read
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.registry import WritersSchemas
from mastodon_pipeline.settings import Settings

RECALLED_RECORDS = 50_000
"""Records at the end of the topic, shared among its partitions; they take some 15 MB."""
_RECALL_SECONDS = 10.0
_log = logging.getLogger(__name__)


def recall(
    settings: Settings, records: int = RECALLED_RECORDS, seconds: float = _RECALL_SECONDS
) -> SeenToots:
    """Return the toots of the topic's last `records` records, as far as `seconds` suffice.

    What is left out, or cannot be decoded, costs nothing but a delete's uri (`delete_record`).

    Raises:
        KafkaUnavailable: no broker answers.
        RegistryUnavailable: the schema registry does not answer.
    """
    topic = settings.kafka_topic
    seen = SeenToots()
    writers_schemas = WritersSchemas(settings)
    with open_consumer(settings) as consumer:
        held = offsets(consumer, topic, _RECALL_SECONDS)
        share = records // len(held)
        ends = {number: range(max(r.start, r.stop - share), r.stop) for number, r in held.items()}
        try:
            for message in read(consumer, topic, ends, seconds):
                try:
                    record = decode(message.value() or b"", writers_schemas)
                except ValueError:
                    continue  # No record of ours, so it names no toot that a delete could mean.
                if record.event != "delete":
                    seen.recall(record)
        except KafkaUnavailable as error:
            _log.info("the topic's end was recalled in part: %s", error)
    return seen
