"""Reading the topics for a person to look at: endless, and as JSON."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from threading import Event
from typing import Any

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition
from msgspec.structs import asdict

from mastodon_pipeline.errors import TopicMissing
from mastodon_pipeline.kafka import offsets, open_consumer, partitions
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import Settings

_DEADLINE_SECONDS = 10.0
_POLL_SECONDS = 0.5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def follow(
    settings: Settings,
    topic: str,
    from_beginning: bool,
    on_outage: Callable[[str], None],
    is_stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Iterator[Message]]:
    """Open an endless iterator of the topic's messages: those to come, after those it holds.

    It ends, within half a second, once `is_stopped` returns True. Without `from_beginning`, only
    those to come. Messages of different partitions come in no
    particular order. While Kafka is away it waits, and calls `on_outage` with the reason, again
    and again.

    Raises:
        KafkaUnavailable: no broker answers at the start.
        TopicMissing: the topic does not exist.
    """
    started = Event()
    config = {
        "enable.partition.eof": False,
        "error_cb": lambda error: on_outage(error.str()) if started.is_set() else None,
    }
    with open_consumer(settings, config=config) as consumer:
        if not partitions(consumer, topic, _DEADLINE_SECONDS):
            raise TopicMissing(
                f"Kafka at {settings.kafka_bootstrap_servers} has no topic {topic} yet; "
                "a listener creates it: `make up`, or `mastodon-pipeline listen --enable-kafka`"
            )
        # Offsets are asked for now, so that what comes before the first poll is read too.
        ranges = offsets(consumer, topic, _DEADLINE_SECONDS)
        consumer.assign(
            [
                TopicPartition(topic, number, held.start if from_beginning else held.stop)
                for number, held in ranges.items()
            ]
        )
        started.set()
        yield _messages(consumer, on_outage, is_stopped)


def _messages(
    consumer: Consumer, on_outage: Callable[[str], None], is_stopped: Callable[[], bool]
) -> Iterator[Message]:
    while not is_stopped():
        message = consumer.poll(_POLL_SECONDS)
        if message is None:
            continue
        if (error := message.error()) is not None:
            on_outage(error.str())
        else:
            yield message


def toot_json(message: Message, writers_schema: Callable[[int], Any]) -> str:
    """Return a message of the toots' topic as one line of JSON: record, partition and offset.

    Older and newer records alike have the fields of this version's schema; times are ISO 8601, UTC.
    Raises ValueError if the value is no record of ours, and what `writers_schema` raises.
    """
    record = decode(message.value() or b"", writers_schema)
    times = {
        field.name: _moment(value)
        for field in record_fields()
        if field.is_time and (value := getattr(record, field.name)) is not None
    }
    return _line({**asdict(record), **times, **_coordinates(message)})


def dead_letter_json(message: Message) -> str:
    """Return a dead letter as one line of JSON: when, from where, why, and the payload as text.

    Listeners and the sink send dead letters; the sink's reasons are in Kafka Connect's headers.
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
    return {"kafka_partition": message.partition(), "kafka_offset": message.offset()}


def _line(fields: dict[str, Any]) -> str:
    text = msgspec.json.encode(fields).decode()
    # What a stranger wrote must not steer the terminal; JSON can say every character in ASCII.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
