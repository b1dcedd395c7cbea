"""What a listener counts for the ledger: everything that it received has a name."""

import json
import time

import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import UndecodableStatus
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.tally import HOUR_MS, SavedTally, Tallies
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    recorder_into,
)
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.simulated_servers import STREAMED, quiet

TOOT = {
    "id": "1",
    "uri": "https://a.example/1",
    "created_at": "2026-05-01T10:00:00.000Z",
    "account": {"acct": "ann"},
    "content": "<p>hello</p>",
    "visibility": "public",
}
TEMPLATE = SavedTally("run", 1, "https://a.example", 0)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The recorder's time, UTC milliseconds, in a list of one."""
    now = [5 * HOUR_MS]
    monkeypatch.setattr(time, "time_ns", lambda: now[0] * 1_000_000)
    return now


def toot(number: int, **fields: object) -> bytes:
    return json.dumps(TOOT | {"id": str(number), "uri": f"u{number}"} | fields).encode()


def saved(recorder: TootRecorder) -> list[SavedTally]:
    """Return the tallies that a listener would save now, and note them as saved."""
    recorder.position.advance()
    tallies = recorder.position.tallies.changed(TEMPLATE)
    for tally in tallies:
        recorder.position.tallies.note_saved(tally)
    return tallies


def test_everything_received_is_acknowledged_or_left_out_for_a_reason() -> None:
    """Recorded, repeated, boosts, not public, dead letters, deletes, and what is no toot event."""
    recorder = recorder_into(RecordingSink())
    recorder.take(toot(1), "update", "stream")
    recorder.take(toot(1), "update", "poll")
    recorder.take(toot(1), "status.update", "stream")
    recorder.take(toot(2, reblog=TOOT), "update", "stream")
    recorder.take(toot(3, visibility="private"), "update", "stream")
    recorder.take(b"{broken", "update", "stream")
    recorder.take(b"{broken", "update", "stream")
    recorder.take(toot(4, created_at="never"), "update", "stream")
    recorder.take(b"1", "delete", "stream")
    recorder.take(b"{}", "filters_changed", "stream")
    recorder.dead_letter(b"x" * 10, "update", UndecodableStatus("larger than 10 bytes"))
    [tally] = saved(recorder)
    assert (tally.received, tally.acknowledged, tally.open) == (10, 3, 0)
    assert (tally.repeated, tally.boosts, tally.not_public, tally.dead_letters) == (2, 1, 1, 3)


def test_only_what_the_broker_has_is_acknowledged() -> None:
    """The rest is open, and acknowledged by the tally after it is."""
    sink = RecordingSink(acknowledging=False)
    recorder = recorder_into(sink)
    for number in range(5):
        recorder.take(toot(number), "update", "stream")
    assert [(tally.acknowledged, tally.open) for tally in saved(recorder)] == [(0, 5)]
    sink.acknowledge_all()
    assert [(tally.acknowledged, tally.open) for tally in saved(recorder)] == [(5, 0)]
    assert saved(recorder) == []


def test_each_record_is_counted_in_the_hour_of_its_ingested_at(clock: list[int]) -> None:
    """Also around a full hour, and when the clock is set back: records say when they were read."""
    sink = RecordingSink(acknowledging=False)
    recorder = recorder_into(sink)
    moments = [5 * HOUR_MS, 6 * HOUR_MS - 1, 6 * HOUR_MS, 6 * HOUR_MS + 1, 5 * HOUR_MS + 7]
    for number, clock[0] in enumerate(moments):
        recorder.take(toot(number), "update", "stream")
    sink.acknowledge_all()
    counted = {tally.hour: tally.acknowledged for tally in saved(recorder)}
    assert counted == {5 * HOUR_MS: 3, 6 * HOUR_MS: 2}
    hours = [record.ingested_at // HOUR_MS * HOUR_MS for record in sink.records]
    assert counted == {hour: hours.count(hour) for hour in hours}


def test_hours_of_which_nothing_more_can_come_are_forgotten() -> None:
    """A listener runs for months."""
    tallies = Tallies()
    for hour in range(100):
        tallies.at(hour * HOUR_MS).received += 1
        tallies.at(hour * HOUR_MS).boosts += 1
        for tally in tallies.changed(TEMPLATE):
            tallies.note_saved(tally)
    assert len(tallies._hours) < 5


def test_record_that_the_sink_refuses_is_not_acknowledged() -> None:
    """Its dead letter is counted instead."""

    class Refusing(RecordingSink):
        def send(self, *_: object) -> None:
            raise ValueError("too large")

    recorder = recorder_into(Refusing())
    recorder.take(toot(1), "update", "stream")
    [tally] = saved(recorder)
    assert (tally.received, tally.acknowledged, tally.dead_letters, tally.open) == (1, 0, 1, 0)


def test_listener_saves_its_tallies_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """They account for all that it recorded."""
    positions = MemoryPositions()
    with Simulator(quiet(STREAMED)) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as scene:
            scene.wait_until_connected()
            scene.wait_for_toots([simulator.publish(0) for _ in range(20)])
        assert sum(t.acknowledged for t in positions.tallies.values()) == len(scene.sink.records)
    assert {(tally.open, tally.ended) for tally in positions.tallies.values()} == {(0, True)}
    assert len({tally.run for tally in positions.tallies.values()}) == 1
