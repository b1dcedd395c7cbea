"""Server-sent events: the same events however the network divides the bytes."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.protocol.sse import EventParser, ServerSentEvent

WIRE = (
    b":)\n"
    b'event: update\ndata: {"content": "h\xc3\xa4llo"}\n\n'
    b":thump\n\n"
    b"event: delete\r\ndata: 12\r\n\r\n"
    b"data: a\rdata: b\r\r"
    b"id: 1\nevent: empty\n\n"
    b"data:no space\n\n"
    b"event: update\ndata: unfinished"
)
EVENTS = [
    ServerSentEvent("update", '{"content": "hällo"}'.encode()),
    ServerSentEvent("delete", b"12"),
    ServerSentEvent("message", b"a\nb"),
    ServerSentEvent("message", b"no space"),
]


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in pairwise(bounds)]


def parse(blocks: list[bytes], limit: int = 1000) -> list[ServerSentEvent]:
    parser = EventParser(limit)
    return [event for block in blocks for event in parser.feed(block)]


def test_parser_follows_the_specification() -> None:
    """Three line ends, several data lines, comments, no event without data, none incomplete."""
    assert parse([WIRE]) == EVENTS


def test_stream_that_arrives_byte_by_byte_gives_the_same_events() -> None:
    assert parse([bytes([byte]) for byte in WIRE]) == EVENTS


def test_byte_order_mark_at_the_start_of_a_stream_is_skipped() -> None:
    assert parse([b"\xef\xbb\xbfdata: x\n\n"]) == [ServerSentEvent("message", b"x")]


@given(st.lists(st.integers(0, len(WIRE)), max_size=20))
def test_any_division_into_blocks_gives_the_same_events(cuts: list[int]) -> None:
    """Also within a character, and between CR and LF."""
    assert parse(split(WIRE, cuts)) == EVENTS


hostile = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"data:", b"event: ", b":", b" ", b"\xc3", b"x" * 30, b"\0", b"id"]
    )
    | st.binary(max_size=5),
    max_size=40,
).map(b"".join)


@given(hostile, st.lists(st.integers(0, 500), max_size=20))
def test_hostile_bytes_give_the_same_events_however_divided(wire: bytes, cuts: list[int]) -> None:
    """No bytes crash the parser."""
    assert parse(split(wire, cuts), limit=40) == parse([wire] if wire else [], limit=40)


def test_endless_event_is_cut_and_marked() -> None:
    """Its memory is bounded; the next event is complete again."""
    parser = EventParser(100)
    events = parser.feed(b"event: update\ndata: ")
    for _ in range(1000):
        events += parser.feed(b"x" * 1000)
        assert sum(map(len, parser._line)) <= 200
    events += parser.feed(b"\n\ndata: y\n\n")
    assert events == [
        ServerSentEvent("update", b"x" * 100, cut=True),
        ServerSentEvent("message", b"y"),
    ]
