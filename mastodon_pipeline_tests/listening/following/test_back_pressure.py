"""While Kafka takes nothing, nothing is read: nothing is dropped, and no server is blamed."""

import threading
import time
from collections import Counter

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.client.pacing import Timings
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import listening
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

STREAMED = ServerPolicy("stream.example", thump_seconds=0.1)


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


def test_full_queue_stops_reading_and_the_streams_survive(monkeypatch: pytest.MonkeyPatch) -> None:
    """For longer than a silent stream would: it was we who did not read. Shows G2."""
    beats: list[float] = []
    sink = FullSink()
    with Simulator(quiet(STREAMED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        with listening(
            settings,
            sink,
            MemoryPositions(),
            timings=Timings(silence_seconds=3.0),
            beat=lambda: beats.append(time.monotonic()),
        ) as listener:
            [statistics] = listener.statistics
            wait_until(lambda: statistics.gaps_filled == 1, "the connection")
            sink.room.clear()
            published = [simulator.publish() for _ in range(20)]
            assert sink.waiting_for_room.wait(900)
            blocked_at = time.monotonic()
            wait_until(lambda: beats[-1] > blocked_at + 4.0, "beats while the loop is blocked")
            assert not sink.uris()
            sink.room.set()
            wait_until(lambda: set(sink.uris()) == set(published), "the toots")
            last = simulator.publish()
            wait_until(lambda: last in sink.uris(), "a toot after them")
        assert Counter(sink.uris()) == Counter([*published, last])
        assert statistics.connects == 1


def test_listener_without_room_can_be_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing the sink frees it; what it held is read again from the position."""
    positions = MemoryPositions()
    full, sink = FullSink(), RecordingSink()
    with Simulator(quiet(STREAMED)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        with listening(settings, full, positions) as listener:
            wait_until(lambda: listener.statistics[0].gaps_filled == 1, "the connection")
            full.room.clear()
            held = simulator.publish()
            assert full.waiting_for_room.wait(900)
            began = time.monotonic()
        assert time.monotonic() - began < 60
        assert not full.uris()
        with listening(settings, sink, positions):
            wait_until(lambda: held in sink.uris(), "the toot that was held")
