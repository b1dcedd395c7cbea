"""Records to Kafka: Avro, idempotent, batched, never dropped.

**What can be lost here, and what protects it.** Records in the producer's queue die with the
process; a listener's position only passes what the broker has acknowledged, so a restarted
listener reads them again. A full queue makes the caller wait. A delivery that fails for good ends
the run, which goes on from the position once the supervisor has restarted it.
"""

from functools import partial

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from mastodon_pipeline.errors import DeliveryFailed, UnrecordableToot
from mastodon_pipeline.listening.records.dead_letter_limits import MAX_DEAD_LETTER_BYTES
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter
from mastodon_pipeline.listening.topic.encoding import encode
from mastodon_pipeline.settings import Settings

_RECORDS_PER_POLL = 100
"""Polling for delivery reports after each record would add half to the cost of producing. If
fewer records come, the listener's own `poll` serves the reports."""
_MAX_REASON_CHARACTERS = 1000


def kafka_producer(settings: Settings) -> Producer:
    """Return a producer that loses, repeats and reorders nothing while it lives."""
    return Producer(
        {
            **settings.kafka_client_config(),
            "enable.idempotence": True,
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 50,
            "queue.buffering.max.messages": 50_000,
            "queue.buffering.max.kbytes": 128 * 1024,
            "log_level": 2,  # We report an outage once; librdkafka would at each reconnect.
        }
    )


class TootProducer:
    """A `TootSink` into the toots' topic and its dead-letter topic.

    `producer` is anything with confluent_kafka.Producer's produce, poll and flush.
    """

    def __init__(self, producer: Producer, settings: Settings, schema_id: int) -> None:
        self._producer = producer
        self._topic = settings.kafka_topic
        self._dead_letters = settings.dead_letter_topic
        self._schema_id = schema_id
        self._closed = False
        self._failure: KafkaError | None = None
        self._produced = 0
        self._report = partial(self._delivered, _ignore)
        self.failures = 0
        """Deliveries that failed for good."""

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Encode and produce one record; its Kafka timestamp is its arrival, see `topics`.

        Raises:
            UnrecordableToot: it does not fit the schema, or a Kafka message.
            DeliveryFailed: the producer is closed, or Kafka refuses the record.
        """
        value = encode(record, self._schema_id)
        self._produce(self._topic, record.key, value, None, acknowledged)

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Produce the raw payload with its reason in the headers. Raises DeliveryFailed."""
        headers: list[tuple[str, str | bytes | None]] = [
            ("reason", letter.reason[:_MAX_REASON_CHARACTERS].encode("utf-8", "replace")),
            ("server", letter.base_url),
            ("event", letter.event.encode("utf-8", "replace")),
            ("exception", letter.exception),
            ("payload_bytes", str(len(letter.payload))),
        ]
        payload = letter.payload[:MAX_DEAD_LETTER_BYTES]
        self._produce(self._dead_letters, letter.base_url, payload, headers, acknowledged)

    def poll(self) -> None:
        """Serve delivery reports. Raises DeliveryFailed if a delivery has failed for good."""
        self._producer.poll(0)
        if self._failure is not None:
            raise DeliveryFailed(f"Kafka refused {self.failures} records: {self._failure.str()}")

    def close(self, timeout_seconds: float) -> None:
        """Refuse further records and flush, for `timeout_seconds` at most.

        Raises DeliveryFailed if a record was not acknowledged.
        """
        self._closed = True
        queued = self._producer.flush(timeout_seconds)
        if queued or self.failures:
            reason = self._failure.str() if self._failure else f"none within {timeout_seconds:g} s"
            raise DeliveryFailed(
                f"{queued + self.failures} records have no acknowledgement ({reason}); "
                "the next listener reads them again from the last position"
            )

    def _produce(
        self,
        topic: str,
        key: str,
        value: bytes,
        headers: list[tuple[str, str | bytes | None]] | None,
        acknowledged: Acknowledged,
    ) -> None:
        # Most records of a burst share their `acknowledged`, so they share its report too: one
        # object each, alive until the broker has answered, keeps the garbage collector busy.
        report = self._report
        if report.args[0] is not acknowledged:
            report = self._report = partial(self._delivered, acknowledged)
        while not self._closed:
            try:
                self._producer.produce(
                    topic,
                    value=value,
                    key=key,
                    on_delivery=report,
                    headers=headers,
                )
            except BufferError:
                # The queue is full: waiting here slows the reader down, which is the point.
                self._producer.poll(0.1)
                continue
            except KafkaException as error:
                if error.args[0].code() == KafkaError.MSG_SIZE_TOO_LARGE:
                    raise UnrecordableToot(f"its {len(value)} bytes are too many") from error
                raise DeliveryFailed(f"Kafka refused a record: {error.args[0].str()}") from error
            self._produced += 1
            if self._produced % _RECORDS_PER_POLL == 0:
                self._producer.poll(0)
            return
        raise DeliveryFailed("the producer is closed")

    def _delivered(self, acknowledged: Acknowledged, error: KafkaError | None, _: Message) -> None:
        # Runs inside poll and flush: an exception would reach whichever caller happens to be there.
        if error is None:
            acknowledged()
        else:
            self.failures += 1
            self._failure = self._failure or error


def _ignore() -> None:
    pass
