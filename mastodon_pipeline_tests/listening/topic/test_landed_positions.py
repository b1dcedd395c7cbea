"""The copy of positions in the lake: it never covers what has not landed."""

from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.topic.landed_positions import LandedPositions

FEED = "https://a.example local"


def waiting(last_id: str | None, end: int = 5, landed: str | None = None) -> LandedPositions:
    return LandedPositions(
        landed={FEED: SavedPosition(landed)} if landed else {},
        waiting={FEED: SavedPosition(last_id, wanted_since_ms=7)},
        ends={0: end, 1: 0},
        topic_id="topic",
    )


def test_position_is_taken_up_once_the_sink_has_committed_what_it_covers() -> None:
    """Shows G2."""
    copy = waiting("9", landed="3")
    assert not copy.settle_waiting("topic", {0: 4, 1: 0})
    assert copy.landed[FEED].last_id == "3"
    assert copy.settle_waiting("topic", {0: 5, 1: 0})
    assert copy.landed[FEED].last_id == "9"
    assert not copy.waiting


def test_offsets_of_another_topic_prove_nothing() -> None:
    """Shows G2."""
    copy = waiting("9", landed="3")
    assert copy.settle_waiting("another", {0: 5, 1: 0})
    assert copy.landed[FEED].last_id == "3"


def test_feed_of_which_nothing_has_landed_is_read_from_when_it_was_wanted() -> None:
    """Shows G2."""
    copy = waiting("9")
    copy.drop_waiting()
    assert copy.landed[FEED] == SavedPosition(wanted_since_ms=7)


def test_partition_that_the_sink_has_not_read_yet_has_not_landed() -> None:
    """Shows G2."""
    copy = waiting("9", landed="3")
    assert not copy.settle_waiting("topic", {})
