"""Puts records into the topic as the listener does, and waits for what follows from it."""

import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from mastodon_pipeline.listening.topic.schema import encode, register, toot_schema
from mastodon_pipeline.settings import Settings

Record = dict[str, object]


def toots(count: int, first: datetime, hours: int) -> list[Record]:
    """So many toots, spread evenly over hours from `first` on."""
    defaults = {field["name"]: field["default"] for field in toot_schema()["fields"]}
    step = timedelta(hours=hours) / count
    records = []
    for number in range(count):
        created_at = first + number * step
        uri = f"https://mastodon.example/users/a/statuses/{number}"
        times = {"created_at": created_at, "ingested_at": datetime.now(UTC)}
        tags = {"tags": 1, "tag_names": ["cat"]}
        records.append(defaults | times | tags | {"uri": uri, "status_id": str(number)})
    return records


def produce(settings: Settings, records: Iterable[Record]) -> int:
    """Registers the schema and produces the records; returns how many."""
    schema_id = register(settings)
    messages = [
        (str(record["uri"]), encode(record, schema_id), record["created_at"]) for record in records
    ]
    producer = Producer({**settings.kafka_client_config(), "enable.idempotence": True})
    for key, value, created_at in messages:
        assert isinstance(created_at, datetime)
        milliseconds = int(created_at.timestamp() * 1000)
        producer.produce(settings.kafka_topic, value, key, timestamp=milliseconds)
    assert producer.flush(30) == 0
    return len(messages)


def produce_bytes(settings: Settings, value: bytes | None, partition: int) -> None:
    """Produces one value as it is, or a tombstone."""
    producer = Producer(settings.kafka_client_config())
    producer.produce(settings.kafka_topic, value, "odd", partition)
    assert producer.flush(30) == 0


def eventually(look: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Waits until `look` is true; fails with `what` where it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not look():
        assert time.monotonic() < deadline, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.3)
