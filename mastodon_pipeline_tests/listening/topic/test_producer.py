"""The producer waits if its queue is full, and acknowledges only what the broker has."""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import pytest
from confluent_kafka import KafkaError, Producer
from msgspec.structs import replace

from mastodon_pipeline.errors import DeliveryFailed, UnrecordableToot
from mastodon_pipeline.listening.records.dead_letter_limits import MAX_DEAD_LETTER_BYTES
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import DeadLetter
from mastodon_pipeline.listening.topic.producer import TootProducer
from mastodon_pipeline.settings import Settings

RECORD = TootRecord(uri="https://a.example/1", created_at=1_780_000_000_000)
Report = Callable[[KafkaError | None, object], None]


class TinyQueue:
    """The part of confluent_kafka.Producer that is used, with little room: for one message."""

    def __init__(self, error: KafkaError | None = None, room: int = 1) -> None:
        self._room = room
        self.messages: list[dict[str, Any]] = []
        self.refusals = 0
        self._error = error
        self._waiting: list[Report] = []

    def produce(self, topic: str, *, on_delivery: Report, **message: Any) -> None:
        if len(self._waiting) >= self._room:
            self.refusals += 1
            raise BufferError("Local: Queue full")
        self.messages.append({"topic": topic, **message})
        self._waiting.append(on_delivery)

    def poll(self, timeout: float) -> int:
        # Delivery reports come only to those who wait for them.
        if timeout > 0:
            self.deliver()
        return 0

    def flush(self, timeout: float) -> int:
        if self._error is None:
            self.deliver()
        return len(self._waiting)

    def deliver(self) -> None:
        while self._waiting:
            self._waiting.pop()(self._error, None)


def toot_producer(queue: TinyQueue) -> TootProducer:
    return TootProducer(cast(Producer, queue), Settings(kafka_topic="t"), schema_id=1)


def test_full_queue_makes_the_caller_wait() -> None:
    """Nothing is dropped or raised, and every record is acknowledged once. Shows G2."""
    queue = TinyQueue()
    sink = toot_producer(queue)
    acknowledged: list[int] = []
    for number in range(3):
        sink.send(RECORD, lambda number=number: acknowledged.append(number))  # type: ignore[misc]
    sink.close(1)
    assert acknowledged == [0, 1, 2]
    assert len(queue.messages) == 3
    assert queue.refusals == 2


def test_each_feed_gets_the_acknowledgements_of_its_own_records() -> None:
    """Records that come in turn from several feeds share no acknowledgement."""
    queue = TinyQueue(room=10)
    sink = toot_producer(queue)
    acknowledged: Counter[str] = Counter()

    def first_feed() -> None:
        acknowledged["first"] += 1

    def second_feed() -> None:
        acknowledged["second"] += 1

    for acknowledge in (first_feed, first_feed, second_feed, first_feed, second_feed):
        sink.send(RECORD, acknowledge)
    sink.close(1)
    assert acknowledged == {"first": 3, "second": 2}


def test_delivery_that_failed_for_good_is_raised_by_poll_and_not_acknowledged() -> None:
    """Not in a callback, where it would reach whichever caller happens to be there. Shows G2."""
    queue = TinyQueue(KafkaError(KafkaError._MSG_TIMED_OUT))
    sink = toot_producer(queue)
    acknowledged: list[bool] = []
    sink.send(RECORD, lambda: acknowledged.append(True))
    queue.deliver()
    with pytest.raises(DeliveryFailed, match="Kafka refused 1 records"):
        sink.poll()
    assert not acknowledged


def test_closing_raises_for_records_without_acknowledgement() -> None:
    """The position stays before it, so that it is read again."""
    sink = toot_producer(TinyQueue(KafkaError(KafkaError._TRANSPORT)))
    sink.send(RECORD, lambda: None)
    with pytest.raises(DeliveryFailed, match="1 records have no acknowledgement"):
        sink.close(0.1)
    with pytest.raises(DeliveryFailed, match="closed"):
        sink.send(RECORD, lambda: None)


def test_record_that_does_not_fit_the_schema_is_refused() -> None:
    """It is a dead letter, not the end of the listener."""
    with pytest.raises(UnrecordableToot, match="favourites does not fit"):
        toot_producer(TinyQueue()).send(replace(RECORD, favourites="many"), lambda: None)


@pytest.mark.parametrize("created_at", [-5, 0, RECORD.created_at, 2**52])
def test_kafka_timestamp_is_left_to_the_broker(created_at: int) -> None:
    """What an author's server claims decides nothing in Kafka: it would refuse negative times."""
    queue = TinyQueue()
    toot_producer(queue).send(replace(RECORD, created_at=created_at), lambda: None)
    assert "timestamp" not in queue.messages[0]


def test_huge_dead_letter_is_cut_and_its_size_kept() -> None:
    queue = TinyQueue()
    payload = b"x" * (MAX_DEAD_LETTER_BYTES + 1)
    letter = DeadLetter(payload, "too large", "https://a.example", "update", "ValueError")
    toot_producer(queue).dead_letter(letter, lambda: None)
    [message] = queue.messages
    assert message["topic"] == "t-dlq"
    assert len(message["value"]) == MAX_DEAD_LETTER_BYTES
    assert dict(message["headers"])["payload_bytes"] == str(len(payload))
