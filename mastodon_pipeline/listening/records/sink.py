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
    """Takes records from any thread; calls `acknowledged` once a record is safe."""

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Takes a record, waiting while there is no room.

        Raises UnrecordableToot, or DeliveryFailed where the sink is closed.
        """

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Takes what could not be recorded. Raises DeliveryFailed where the sink is closed."""

    def poll(self) -> None:
        """Lets acknowledgements in. Raises DeliveryFailed where a delivery has failed for good."""

    def close(self, timeout: float) -> None:
        """Takes nothing more and waits up to `timeout` seconds until all is acknowledged.

        Raises DeliveryFailed where something was not.
        """
