"""A ledger over a real sink, in a topic and a bucket of this room's tests."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.ledger.checking import Ledger, check_ledger
from mastodon_pipeline.ledger.state import Loss
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.listener_run import ListenerRun

ENVIRONMENT = {
    "KAFKA_TOPIC": "ledger-topic",
    "S3_BUCKET": "ledger-bucket",
    "CONNECTOR_NAME": "ledger-sink",
    "ICEBERG_TABLE": "ledger.raw",
}
_sources = count(1)


class Books:
    """One test's source in the ledger: its own server, and its own hour of posting."""

    def __init__(self, settings: Settings, lake: Lake) -> None:
        number = next(_sources)
        self.settings, self.lake = settings, lake
        self.domain = f"source{number}.example"
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        self.hour = hour - timedelta(hours=3 * number)
        self.red_after_seconds: float | None = None
        """From the last green check, or the beginning, until the first red one."""
        self._green_at = time.monotonic()

    def listen(self, schema_id: int | None = None) -> ListenerRun:
        """Begin a listener run."""
        return ListenerRun(self.settings, self.domain, self.hour, schema_id)

    def receive_all(self, number: int = 20) -> list[str]:
        """Receive toots, tally them, and wait until they have landed and are in `toots`.

        Returns their uris.
        """
        run = self.listen()
        uris = run.receive(number)
        run.save(ended=True)
        wait_for_sink(self.settings)
        build_hours(self.lake, self.hour)
        return uris

    def check(self, later: timedelta = timedelta(0), sink_seconds: float = 40.0) -> Ledger:
        """Check the ledger as of now, or as of a later time."""
        return check_ledger(
            self.settings, self.lake, lambda: datetime.now(UTC) + later, sink_seconds
        )

    def losses(
        self, later: timedelta = timedelta(0), sink_seconds: float = 40.0
    ) -> list[tuple[str, int, str]]:
        """Check, and return this source's losses: stage, records, reason."""
        return [
            (loss.stage, loss.records, loss.reason) for loss in self._losses(later, sink_seconds)
        ]

    def _losses(self, later: timedelta, sink_seconds: float) -> list[Loss]:
        ledger = self.check(later, sink_seconds)
        losses = [loss for loss in ledger.losses if loss.source == f"https://{self.domain}"]
        if not losses:
            self._green_at = time.monotonic()
        elif self.red_after_seconds is None:
            self.red_after_seconds = time.monotonic() - self._green_at
        return losses


def open_books(environment: dict[str, str]) -> Iterator[Callable[[], Books]]:
    """Make topics and a connector with these names; give what opens a source's books."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = load_settings()
    ensure_topics(settings, listening_topics(settings))
    connect_sink(settings)
    with open_lake(settings) as lake:
        yield lambda: Books(settings, lake)
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


def sink_config(settings: Settings) -> dict[str, str]:
    """Return the reviewed configuration, but for how long a commit waits for a task's files.

    One that has had no record since the sink began never answers, which would be half a minute.
    """
    return connector_config(settings) | {"iceberg.control.commit.timeout-ms": "3000"}


def connect_sink(settings: Settings) -> None:
    """Put the configuration of the sink in force."""
    apply_connector_config(settings, str, wanted=sink_config(settings))


def sink_runs(settings: Settings) -> bool:
    """Return whether the sink runs with its configuration."""
    with ConnectRest.of(settings) as connect:
        status = connect.status(settings.connector_name)
        config = connect.config(settings.connector_name)
    return status is not None and status.running and config == sink_config(settings)


@pytest.fixture(scope="session")
def shared_books(stack: Stack) -> Iterator[Callable[[], Books]]:
    """Opens books that all tests of the session share."""
    yield from open_books(ENVIRONMENT)


@pytest.fixture
def books(
    shared_books: Callable[[], Books], record_property: Callable[[str, object], None]
) -> Iterator[Books]:
    """A source of this test. How soon its loss was seen is in the report: pytest --junit-xml x.xml
    -o junit_family=xunit1.
    """
    books = shared_books()
    yield books
    if books.red_after_seconds is not None:
        record_property("red_after_seconds", round(books.red_after_seconds, 1))
