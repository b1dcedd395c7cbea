"""Server-sent events: the same events however the network cuts the bytes."""

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
    places = sorted({min(cut, len(data)) for cut in cuts} | {0, len(data)})
    return [data[a:b] for a, b in pairwise(places)]


def parse(blocks: list[bytes], limit: int = 1000) -> tuple[list[ServerSentEvent], int]:
    parser = EventParser(limit)
    return [event for block in blocks for event in parser.feed(block)], parser.comments


def test_the_specifications_rules() -> None:
    """Three line ends, many data lines, comments, no event without data, none unfinished."""
    assert parse([WIRE]) == (EVENTS, 2)


def test_byte_by_byte() -> None:
    """The worst a network can do."""
    assert parse([bytes([byte]) for byte in WIRE]) == (EVENTS, 2)


def test_a_byte_order_mark_is_skipped() -> None:
    """At the very beginning, as the specification says."""
    assert parse([b"\xef\xbb\xbfdata: x\n\n"]) == ([ServerSentEvent("message", b"x")], 0)


@given(st.lists(st.integers(0, len(WIRE)), max_size=20))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    """Also within a character, and between CR and LF."""
    assert parse(split(WIRE, cuts)) == (EVENTS, 2)


hostile = st.lists(
    st.sampled_from(
        [b"\n", b"\r", b"\r\n", b"data:", b"event: ", b":", b" ", b"\xc3", b"x" * 30, b"\0", b"id"]
    )
    | st.binary(max_size=5),
    max_size=40,
).map(b"".join)


@given(hostile, st.lists(st.integers(0, 500), max_size=20))
def test_hostile_bytes_too(wire: bytes, cuts: list[int]) -> None:
    """No bytes crash the parser, and no split changes what it makes of them."""
    assert parse(split(wire, cuts), limit=40) == parse([wire] if wire else [], limit=40)


def test_an_endless_event_is_cut_and_marked() -> None:
    """Its memory is bounded; the next event is whole again."""
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
