"""Reading the topics for a person to look at; nothing is committed and nobody is disturbed."""

import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from msgspec.structs import asdict

from mastodon_pipeline.errors import TopicMissing
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.topics import bounds, unreachable
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings

_DEADLINE = 10.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def follow(
    settings: Settings, topic: str, from_beginning: bool, outage: Callable[[str], None]
) -> Generator[Message, None, None]:
    """The topic's messages: those it holds where `from_beginning`, and those that come; endless.

    Close it in the end. Messages of different partitions come in no particular order. While Kafka
    is away it waits, and calls `outage` with the reason, again and again.
    Raises KafkaUnavailable where it does not answer now, and TopicMissing.
    """
    started = Event()
    consumer = Consumer(
        {
            **settings.kafka_client_config(),
            "group.id": "mastodon-consume",  # A name only: partitions are assigned, not shared.
            "enable.auto.commit": False,
            "log_level": 0,
            "error_cb": lambda error: outage(error.str()) if started.is_set() else None,
        }
    )
    try:
        consumer.assign(_starts(consumer, settings, topic, from_beginning))
    except BaseException:
        consumer.close()
        raise
    started.set()
    return _messages(consumer, outage)


def _starts(
    consumer: Consumer, settings: Settings, topic: str, from_beginning: bool
) -> list[TopicPartition]:
    try:
        found = consumer.list_topics(topic, timeout=_DEADLINE).topics[topic]
        if found.error is not None or not found.partitions:
            raise TopicMissing(
                f"Kafka at {settings.kafka_bootstrap_servers} has no topic {topic} yet; "
                "a listener makes it: `make up`, or `mastodon-pipeline listen --enable-kafka`"
            )
        partitions = [TopicPartition(topic, number) for number in found.partitions]
        for partition in partitions:
            # Asked for now, so that what comes between here and the first poll is seen too.
            low, end = bounds(consumer, partition, _DEADLINE)
            partition.offset = low if from_beginning else end
    except KafkaException as error:
        raise unreachable(settings, error) from None
    return partitions


def _messages(consumer: Consumer, outage: Callable[[str], None]) -> Generator[Message, None, None]:
    try:
        while True:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if (failure := message.error()) is not None:
                outage(failure.str())
            else:
                yield message
    finally:
        consumer.close()


def toot_json(message: Message, writers_schema: Callable[[int], Any]) -> str:
    """A toots' topic message as one line of JSON: the record, its partition and offset.

    Older and newer records alike are told in the fields of this checkout's schema; times are
    ISO 8601, UTC. Raises ValueError where the value is no record of ours, and what
    `writers_schema` raises.
    """
    record = decode(message.value() or b"", writers_schema)
    times = {
        field.name: _moment(value)
        for field in record_fields()
        if field.is_time and (value := getattr(record, field.name)) is not None
    }
    return _line({**asdict(record), **times, **_coordinates(message)})


def dead_letter_json(message: Message) -> str:
    """A dead letter as one line of JSON: when, from whom, why, and the payload as far as text.

    Listeners and the sink send there; the sink's reasons are in Kafka Connect's own headers.
    See: https://cwiki.apache.org/confluence/display/KAFKA/KIP-298
    """
    headers: dict[str, bytes | None] = dict(message.headers() or [])  # type: ignore[arg-type]

    def header(ours: str, connects: str) -> str:
        value = headers.get(ours) or headers.get(f"__connect.errors.{connects}") or b""
        return value.decode("utf-8", "replace")

    payload = message.value() or b""
    return _line(
        {
            "dead_at": _moment(message.timestamp()[1]),
            "from": header("server", "connector.name"),
            "event": header("event", "stage"),
            "reason": header("reason", "exception.message"),
            "exception": header("exception", "exception.class.name"),
            "payload_bytes": int(headers.get("payload_bytes") or len(payload)),
            "payload": payload.decode("utf-8", "replace"),
            **_coordinates(message),
        }
    )


def _moment(milliseconds: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _coordinates(message: Message) -> dict[str, Any]:
    return {"_partition": message.partition(), "_offset": message.offset()}


def _line(found: dict[str, Any]) -> str:
    text = msgspec.json.encode(found).decode()
    # What a stranger wrote must not steer the terminal; JSON can say every character in ASCII.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
