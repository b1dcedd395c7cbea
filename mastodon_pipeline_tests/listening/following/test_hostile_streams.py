"""10,000 hostile streams: nothing crashes, and every event is decoded or a dead letter.

All in memory, from a stream's bytes to Avro.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.listening.following.websocket import take_message
from mastodon_pipeline.listening.protocol.sse import ServerSentEvent
from mastodon_pipeline.listening.protocol.statuses import Status
from mastodon_pipeline.listening.records.record import ObservingServer, toot_record
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline_tests.listening.following.hostile_streams import (
    OVERSIZED_BYTES,
    Fate,
    KnownEvent,
    hostile_stream,
)

pytestmark = pytest.mark.thorough

OBSERVER = ObservingServer("https://hostile.example", "hostile.example")
NOW = 1_790_000_000_000
ALLOWED: dict[Fate, set[str]] = {
    "toot": {"toot"},
    "delete": {"delete"},
    "dead": {"dead"},
    "toot or dead": {"toot", "dead"},
    "ignored": {"ignored"},
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event."""

    fate: str
    name: str
    what: Any
    """A toot's uri, a delete's id, a dead letter's payload, an ignored event's data."""


class Accounting(BlockStreamListener):
    """Takes events as a follower does, as far as the bytes that Kafka would get."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []

    def on_update(self, status: Status) -> None:  # type: ignore[override]
        self._record(status, "update")

    def on_status_update(self, status: Status) -> None:  # type: ignore[override]
        self._record(status, "status.update")

    def on_delete(self, status_id: str) -> None:  # type: ignore[override]
        self.outcomes.append(Outcome("delete", "delete", status_id))

    def on_unknown_event(self, name: str, unknown_event: Any = None) -> None:
        self.outcomes.append(Outcome("ignored", name, unknown_event))

    def on_undecodable(self, event: ServerSentEvent, error: Exception) -> None:
        assert str(error), "a dead letter has its reason"
        self.outcomes.append(Outcome("dead", event.name, event.data))

    def _record(self, status: Status, event: Any) -> None:
        record = toot_record(status, event, OBSERVER, "stream", NOW)
        assert decode(encode(record, 1)).uri == record.uri
        self.outcomes.append(Outcome("toot", event, record.uri))


def accounted(event: KnownEvent, outcome: Outcome) -> bool:
    """Whether the event became what it had to, and kept its name and content."""
    if outcome.fate not in ALLOWED[event.fate] or outcome.name != event.name:
        return False
    if outcome.fate == "toot":
        return event.uri in ("", outcome.what)
    if outcome.fate == "delete":
        return bool(outcome.what == event.data.decode().strip('"'))
    return bool(outcome.what == event.data)


@settings(
    max_examples=10_000,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(st.binary(min_size=12, max_size=32))
def test_every_event_of_a_hostile_stream_is_accounted_for(script: bytes) -> None:
    """Mutated JSON, NUL, lone surrogates, bad UTF-8, huge numbers, null lists, deep nesting, any
    line end, any cut, oversized, unfinished: each whole event once, in order, none beside."""
    stream = hostile_stream(script)
    listener = Accounting()
    for block in stream.blocks:
        listener.feed(block)
    for event, outcome in zip(stream.events, listener.outcomes, strict=True):
        assert accounted(event, outcome), (event, outcome)


@settings(
    max_examples=1_000,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(st.binary(min_size=16, max_size=32), st.integers(0, 4))
def test_every_websocket_message_is_accounted_for(script: bytes, form: int) -> None:
    """The same events as messages; and what is no message at all is a dead letter as a whole.

    What is no UTF-8 cannot be in a message; it counts all the same, whatever stands in its place.
    """
    listener = Accounting()
    events = hostile_stream(script).events
    for event in events:
        take_message(_message(event, form), listener)
    assert len(listener.outcomes) == len(events)
    for event, outcome in zip(events, listener.outcomes, strict=True):
        if form > 0:
            assert outcome.fate in ("dead", "ignored")
        elif event.data.decode("utf-8", "replace").encode() == event.data:
            assert accounted(event, outcome), (event, outcome)


def _message(event: KnownEvent, form: int) -> bytes:
    payload = event.data.decode("utf-8", "replace")
    whole: dict[str, Any] = {"stream": ["public:local"], "event": event.name, "payload": payload}
    if form == 1:
        return json.dumps(whole).encode()[:-1]  # cut short
    if form == 2:
        return json.dumps([whole]).encode()
    if form == 3:
        return json.dumps(whole | {"event": None}).encode()
    if form == 4:
        return b"\xff" + event.data
    return json.dumps(whole).encode()


def test_an_oversized_event_is_a_dead_letter_and_the_next_one_is_read() -> None:
    """Its beginning is kept; the stream goes on."""
    stream = hostile_stream(bytes([0, 0, 14, 63, 0, 0, 0, 0]))
    assert [event.oversized for event in stream.events][:2] == [True, False]
    listener = Accounting()
    for block in stream.blocks:
        listener.feed(block)
    first, second, *_ = listener.outcomes
    assert (first.fate, len(first.what)) == ("dead", OVERSIZED_BYTES - 1)
    assert second.fate == "toot"
