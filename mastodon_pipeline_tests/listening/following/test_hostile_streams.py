"""10,000 hostile streams: nothing crashes, and every event is recorded or a dead letter.

All in memory, from a stream's bytes to Avro.
"""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import take_block
from mastodon_pipeline.listening.following.websocket import take_message
from mastodon_pipeline.listening.protocol.sse import EventParser
from mastodon_pipeline.listening.records.record import (
    ObservingServer,
    Source,
    TootRecord,
)
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.listening.following.hostile_streams import (
    OVERSIZED_BYTES,
    Fate,
    HostileStream,
    KnownEvent,
    hostile_stream,
)
from mastodon_pipeline_tests.support.recording_sink import RecordingSink

pytestmark = pytest.mark.thorough

ALLOWED: dict[Fate, set[str]] = {
    "toot": {"toot", "not public"},
    "delete": {"delete"},
    "dead": {"dead", "not public"},
    "toot or dead": {"toot", "dead", "not public"},
    "ignored": {"ignored"},
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event."""

    fate: str
    name: str
    content: Any
    """A toot's uri, a delete's id, a dead letter's payload, an ignored event's data."""


class AccountingSink(RecordingSink):
    """Encodes each record as the producer does, and lists what became of each event, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Outcome] = []
        self.encoded: list[bytes] = []

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        self.encoded.append(encode(record, 1))
        super().send(record, acknowledged)
        name = record.event
        if name == "delete":
            self.outcomes.append(Outcome("delete", name, record.status_id))
        else:
            self.outcomes.append(Outcome("toot", name, record.uri))

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        super().dead_letter(letter, acknowledged)
        self.outcomes.append(Outcome("dead", letter.event, letter.payload))


class AccountingRecorder(TootRecorder):
    """A recorder that also lists the events that it ignores, and remembers no toot."""

    def __init__(self) -> None:
        server = "hostile.example"
        self.sink = AccountingSink()
        super().__init__(
            ObservingServer(f"https://{server}", server),
            self.sink,
            SeenToots(),
            FeedPosition(None),
            ServerStatistics(parse_server(server, "public")),
        )

    @property
    def outcomes(self) -> list[Outcome]:
        return self.sink.outcomes

    def take(self, payload: bytes, event: str, source: Source) -> tuple[str, bool]:
        self._seen, before = SeenToots(), len(self.outcomes)
        not_public = self.statistics.not_public
        result = super().take(payload, event, source)
        if len(self.outcomes) == before:
            fate = "ignored" if self.statistics.not_public == not_public else "not public"
            self.outcomes.append(Outcome(fate, event, payload))
        return result

    def dead_letter(self, payload: bytes, event: str, error: Exception) -> None:
        self._seen = SeenToots()
        super().dead_letter(payload, event, error)


def recorded(stream: HostileStream) -> AccountingRecorder:
    recorder, parser = AccountingRecorder(), EventParser()
    for block in stream.blocks:
        take_block(block, parser, recorder)
    return recorder


def is_accounted_for(event: KnownEvent, outcome: Outcome) -> bool:
    """Return whether the event became what it had to, and kept its name and content."""
    if outcome.fate not in ALLOWED[event.fate] or outcome.name != event.name:
        return False
    if outcome.fate == "not public" and not says_not_public(event.data):
        return False
    if outcome.fate == "toot":
        return event.uri in ("", outcome.content)
    if outcome.fate == "delete":
        return bool(outcome.content == event.data.decode().strip('"'))
    return bool(outcome.content == event.data)


def says_not_public(payload: bytes) -> bool:
    """Return whether the status has a visibility other than public, or is local only."""
    status = json.loads(payload.decode("utf-8", "replace"))
    visibility = status.get("visibility")
    return visibility not in (None, "", "public", "unlisted") or bool(status.get("local_only"))


def check_sink(sink: AccountingSink) -> None:
    """Check that what is encoded can be decoded, and that each dead letter has a reason."""
    for record, value in zip(sink.records, sink.encoded, strict=True):
        assert decode(value).uri == record.uri
    assert all(letter.reason for letter in sink.dead_letters)


@settings(
    max_examples=10_000,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
)
@given(st.binary(min_size=12, max_size=32))
def test_every_event_of_a_hostile_stream_is_accounted_for(script: bytes) -> None:
    """Each complete event exactly once and in order, and nothing else.

    Mutated JSON, NUL, lone surrogates, bad UTF-8, huge numbers, null lists, deep nesting, any
    line end, any cut, oversized, unfinished. Shows G6 and G9.
    """
    stream = hostile_stream(script)
    recorder = recorded(stream)
    for event, outcome in zip(stream.events, recorder.outcomes, strict=True):
        assert is_accounted_for(event, outcome), (event, outcome)
    check_sink(recorder.sink)


@settings(
    max_examples=1_000,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
)
@given(st.binary(min_size=16, max_size=32), st.integers(0, 4))
def test_every_websocket_message_is_accounted_for(script: bytes, form: int) -> None:
    """The same events as messages; bytes that are no message are a dead letter as a whole.

    What is not UTF-8 cannot be in a message; it still counts, whatever replaces it.
    """
    recorder = AccountingRecorder()
    events = hostile_stream(script).events
    for event in events:
        take_message(_message(event, form), recorder)
    for event, outcome in zip(events, recorder.outcomes, strict=True):
        if form > 0:
            assert outcome.fate in ("dead", "ignored")
        elif event.data.decode("utf-8", "replace").encode() == event.data:
            assert is_accounted_for(event, outcome), (event, outcome)
    check_sink(recorder.sink)


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


def test_oversized_event_is_a_dead_letter_and_the_next_event_is_read() -> None:
    """The dead letter has the event's beginning."""
    stream = hostile_stream(bytes([0, 0, 14, 63, 0, 0, 0, 0]))
    assert [event.oversized for event in stream.events][:2] == [True, False]
    first, second, *_ = recorded(stream).outcomes
    assert (first.fate, len(first.content)) == ("dead", OVERSIZED_BYTES - 1)
    assert second.fate == "toot"
