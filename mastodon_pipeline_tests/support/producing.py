"""Produces records to the topic as the listener does."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.listening.topic.encoding import encode
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.settings import Settings


def toots(count: int, first: datetime, hours: int) -> list[TootRecord]:
    """Return `count` toots, spread evenly over hours from `first` on."""
    step = timedelta(hours=hours) / count
    return [
        TootRecord(
            uri=f"https://mastodon.example/users/a/statuses/{number}",
            status_id=str(number),
            created_at=milliseconds(first + number * step),
            ingested_at=milliseconds(datetime.now(UTC)),
            tags=1,
            tag_names=["cat"],
        )
        for number in range(count)
    ]


def produce(settings: Settings, records: Sequence[TootRecord], schema_id: int | None = None) -> int:
    """Produce the records; return how many. The schema is registered unless its id is given."""
    if schema_id is None:
        schema_id = register(settings)
    producer = Producer({**settings.kafka_client_config(), "enable.idempotence": True})
    for record in records:
        producer.produce(
            settings.kafka_topic, encode(record, schema_id), record.key, timestamp=record.created_at
        )
    assert producer.flush(30) == 0
    return len(records)


def produce_bytes(settings: Settings, value: bytes | None, partition: int) -> None:
    """Produce one value as it is, or a tombstone if it is None."""
    producer = Producer(settings.kafka_client_config())
    producer.produce(settings.kafka_topic, value, "odd", partition)
    assert producer.flush(30) == 0
