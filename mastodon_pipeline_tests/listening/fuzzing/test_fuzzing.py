"""What strangers send is spoilt at random: no crash, no hang, bounded memory.

Six seconds and 1,400 inputs at least in `make test`, a minute in `make exhaustive`; with
`FUZZ_MINUTES=30` in the environment half an hour.
"""

import math
import os
import resource
import sys
import time
from collections.abc import Callable

import hypothesis
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from multidict import CIMultiDict

from mastodon_pipeline.errors import InvalidRecord
from mastodon_pipeline.listening.client.clock import clock_difference
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.following.instance import instance_info
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.protocol.ids import later, listed_at, moved_back
from mastodon_pipeline.listening.protocol.sse import EventParser
from mastodon_pipeline.listening.protocol.statuses import (
    decode_page,
    decode_status,
    may_be_kept,
    status_id_of,
)
from mastodon_pipeline.listening.protocol.text import plain_text
from mastodon_pipeline.listening.records.record import ObservingServer, toot_record
from mastodon_pipeline.listening.topic.encoding import decode, encode
from mastodon_pipeline.listening.topic.positions import decode_position, encode_position
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.listening.fuzzing.mutation import spoilt

pytestmark = pytest.mark.thorough

MINUTES = float(os.environ.get("FUZZ_MINUTES", "0.1"))
EXAMPLES = 200
MAX_SECONDS = 0.5
"""CPU of one input; most take microseconds. An input is at most some hundred kilobytes."""
MAX_GROWTH_BYTES = 300 * 1024**2
NOW = 1_790_000_000_000
SERVER = parse_server("https://a.example")
OBSERVER = ObservingServer("https://a.example", "a.example")


def status(data: bytes) -> None:
    """A status is a record that Kafka takes and gives back, or says why it is none."""
    may_be_kept(data)
    status_id_of(data)
    try:
        record = toot_record(decode_status(data), "update", OBSERVER, "stream", NOW)
        encoded = encode(record, 1)
    except InvalidRecord:
        return
    assert decode(encoded) == record
    assert "\0" not in record.mastodon_text + record.uri + record.app


def page(data: bytes) -> None:
    """A page is a list of statuses, or says why it is none."""
    try:
        statuses = decode_page(data)
    except InvalidRecord:
        return
    for each in statuses:
        status(each)


def stream(data: bytes) -> None:
    """However the network divides a stream, its events are the same."""
    whole = EventParser(4096).feed(data)
    pieces, parser = [], EventParser(4096)
    for start in range(0, len(data), 7):
        pieces += parser.feed(data[start : start + 7])
    assert pieces == whole
    for event in whole:
        assert len(event.data) <= 4096
        status(event.data)


def html(data: bytes) -> None:
    """Text is valid UTF-8 without NUL, and not longer than its HTML by more than a constant."""
    source = data.decode("utf-8", "replace")
    for quotes in (False, True):
        text = plain_text(source, quotes)
        assert len(text.encode()) <= 4 * len(source) + 64
        assert "\0" not in text


def instance(data: bytes) -> None:
    """What a server says of itself is a position that can be saved, or no object at all."""
    try:
        entity = msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return
    if isinstance(entity, dict):
        saved = SavedPosition("1", (), instance_info(SERVER, entity))
        assert decode_position(encode_position(saved)) == saved


def headers(data: bytes) -> None:
    """Waits are finite and never negative, clocks differ by a finite time."""
    lines = data.decode("latin-1").split("\n")
    pairs = [line.partition(":")[::2] for line in lines[1:]]
    mapping = CIMultiDict((name, value.strip()) for name, value in pairs)
    budget = RateBudget()
    budget.observe(int(lines[0]) if lines[0] in ("200", "429", "503") else 429, mapping)
    assert 0 <= budget.delay() <= 4000
    assert 0 <= budget.refused_for() <= 4000
    assert math.isfinite(clock_difference(mapping, NOW / 1000) or 0.0)


def ids(data: bytes) -> None:
    """The later of two ids is one of them, whatever their order; moving back leaves an id."""
    left, _, right = data.decode("utf-8", "replace").partition("\n")
    assert later(left, right) in (left, right)
    assert later(later(left, right), right) == later(left, right)
    for status_id in (left, right):
        assert isinstance(moved_back(status_id, 60_000, NOW), str)
        assert (listed_at(status_id, NOW) or 0) <= NOW + 366 * 86_400_000


TARGETS: tuple[Callable[[bytes], None], ...] = (status, page, stream, html, instance, headers, ids)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_spoilt_input_ends_in_bounded_time_and_memory(target: Callable[[bytes], None]) -> None:
    """Shows G6."""
    deadline = time.monotonic() + 60 * MINUTES / len(TARGETS)

    @settings(
        max_examples=EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(spoilt(target.__name__))
    def holds(data: bytes) -> None:
        began = time.thread_time()
        target(data)
        assert time.thread_time() - began < MAX_SECONDS

    before = peak_bytes()
    while True:
        hypothesis.seed(time.time_ns())(holds)()
        if time.monotonic() >= deadline:
            break
    assert peak_bytes() - before < MAX_GROWTH_BYTES


def peak_bytes() -> int:
    """Return the most memory that this process has had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
