"""The position may lag behind; it never runs ahead of what is acknowledged."""

import time

from hypothesis import given
from hypothesis import strategies as st

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.protocol.ids import later


def test_ids_order_by_length_and_then_by_text() -> None:
    """Numbers of different lengths, and ULIDs of one length."""
    assert later("99", "100") == "100"
    assert later("01HZ", "01J0") == "01J0"
    assert later("", "0") == "0"


def test_position_advances_once_a_toot_is_acknowledged() -> None:
    """With the next call, and no earlier than its acknowledgement."""
    position = FeedPosition("5")
    acknowledged = position.track_send()
    position.note_read("6")
    assert position.advance() == "5"
    acknowledged()
    assert position.advance() == "6"


def test_open_gap_holds_the_position() -> None:
    """What the stream brings meanwhile must not hide what is missing before it. Shows G2."""
    position = FeedPosition("5")
    gap = position.open_gap()
    position.track_send()()
    position.note_read("20")
    assert position.advance() == "5"
    position.note_gap_read(gap, "9")
    assert position.advance() == "9"
    position.close_gap(gap)
    assert position.advance() == "20"


def test_reading_the_overlap_does_not_move_the_position_back() -> None:
    """Otherwise a listener that dies repeatedly would start earlier each time."""
    newest = int(time.time() * 1000) << 16
    position = FeedPosition(str(newest), overlap_ms=1000)
    gap = position.open_gap()
    assert gap.read_up_to == str(newest - (1000 << 16))
    assert gap.in_overlap()
    assert position.advance() == str(newest)
    position.note_gap_read(gap, str(newest - 7))
    assert gap.in_overlap()
    assert position.advance() == str(newest)
    position.note_gap_read(gap, str(newest + 7))
    assert not gap.in_overlap()
    assert position.advance() == str(newest + 7)


def test_feed_that_was_never_read_has_no_position_until_its_gap_is_read() -> None:
    """Otherwise a crash in the first second would skip what came before it."""
    position = FeedPosition(None)
    gap = position.open_gap()
    position.track_send()()
    position.note_read("20")
    assert position.advance() is None
    position.note_gap_read(gap, "19")
    position.close_gap(gap)
    assert position.advance() == "20"


@given(st.permutations(range(8)), st.sets(st.integers(0, 7)))
def test_position_never_passes_an_unacknowledged_toot(
    order: list[int], advanced_after: set[int]
) -> None:
    """In whatever order acknowledgements arrive, and whenever it advances. Shows G2."""
    position = FeedPosition("100")
    acknowledgements = []
    for number in range(8):
        acknowledgements.append(position.track_send())
        position.note_read(str(101 + number))
        if number in advanced_after:
            position.advance()
    done: set[int] = set()
    for number in order:
        acknowledgements[number]()
        done.add(number)
        reached = int(position.advance() or 0)
        assert all(other in done for other in range(8) if 101 + other <= reached)
    assert position.advance() == "108"
