"""Where toots go: the seam between following servers and Kafka."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mastodon_pipeline.listening.records.record import TootRecord

Acknowledged = Callable[[], None]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A payload that could not be recorded, and why."""

    payload: bytes
    reason: str
    base_url: str
    event: str
    exception: str
    """The class of the exception."""


class TootSink(Protocol):
    """Takes records from any thread, and calls `acknowledged` once a record is safe."""

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Take a record; wait while there is no room.

        Raises:
            UnrecordableToot: it does not fit the sink.
            DeliveryFailed: the sink is closed.
        """

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Take what could not be recorded. Raises DeliveryFailed if the sink is closed."""

    def poll(self) -> None:
        """Process acknowledgements. Raises DeliveryFailed if a delivery has failed for good."""

    def close(self, timeout_seconds: float) -> None:
        """Take nothing more, and wait up to `timeout_seconds` until all is acknowledged.

        Raises DeliveryFailed if a record was not.
        """
