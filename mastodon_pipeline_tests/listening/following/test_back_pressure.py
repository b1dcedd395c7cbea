"""While Kafka takes nothing, nobody reads: nothing is dropped, and no server is blamed."""

import threading
import time
from collections import Counter

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.client.pacing import Backoff, Timings
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged
from mastodon_pipeline_tests.listening.conftest import simulator_settings
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)

pytestmark = pytest.mark.thorough

TALKATIVE = Options(
    servers=(ServerPolicy("stream.example", thump_seconds=0.1),), toots=0, start="control"
)


class FullSink(RecordingSink):
    """Has no room until `room` is set; once closed it takes nothing more, as the producer does."""

    def __init__(self) -> None:
        super().__init__()
        self.room = threading.Event()
        self.room.set()
        self.waiting_for_room = threading.Event()

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        while not self.room.wait(0.05):
            self.waiting_for_room.set()
            if self.closed:
                raise DeliveryFailed("closed")
        super().send(record, acknowledged)


def test_a_full_queue_stops_the_reading_and_the_streams_survive_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Longer than a silent stream would: it was we who did not listen."""
    beats: list[float] = []
    with Simulator(TALKATIVE) as simulator:
        sink = FullSink()
        settings = simulator_settings(simulator, monkeypatch)
        listener = Listener(
            settings.servers(),
            settings,
            sink,
            MemoryPositions(),
            backoff=lambda: Backoff(first_seconds=0.1, longest_seconds=0.5),
            timings=Timings(silence_seconds=1.0),
        )
        thread = threading.Thread(
            target=listener.run, args=(lambda: beats.append(time.monotonic()), 0.05)
        )
        thread.start()
        try:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.gaps_filled == 1, "the connection")
            sink.room.clear()
            published = [simulator.publish() for _ in range(20)]
            assert sink.waiting_for_room.wait(10)
            blocked_at = time.monotonic()
            wait_until(lambda: beats[-1] > blocked_at + 2.5, "beats, while the loop is blocked")
            assert not sink.uris()
            sink.room.set()
            wait_until(lambda: set(sink.uris()) == set(published), "the toots")
            last = simulator.publish()
            wait_until(lambda: last in sink.uris(), "a toot after them")
        finally:
            listener.stop()
            thread.join(15)
        assert Counter(sink.uris()) == Counter([*published, last])
        assert statistics.connects == 1


def test_a_listener_without_room_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink's end frees it; what it held is read again from the position."""
    positions = MemoryPositions()
    with Simulator(TALKATIVE) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        sink = FullSink()
        listener = Listener(settings.servers(), settings, sink, positions)
        thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.05})
        thread.start()
        wait_until(lambda: listener.statistics[0].gaps_filled == 1, "the connection")
        sink.room.clear()
        held = simulator.publish()
        assert sink.waiting_for_room.wait(10)
        listener.stop()
        thread.join(12)
        assert not thread.is_alive()
        heir = RecordingSink()
        listener = Listener(settings.servers(), settings, heir, positions)
        thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.05})
        thread.start()
        try:
            wait_until(lambda: held in heir.uris(), "the toot that was held")
        finally:
            listener.stop()
            thread.join(12)
