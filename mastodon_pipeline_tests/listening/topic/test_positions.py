"""Positions in Kafka: read back by another process, whichever version wrote them."""

from mastodon_pipeline.listening.following.instance import InstanceInfo
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.positions import decode_position
from mastodon_pipeline.settings import Settings


def test_latest_position_of_each_feed_is_read_back(settings: Settings) -> None:
    """Shows G2 and G3."""
    _, positions = open_kafka(settings)
    assert positions.read() == {}
    for last_id in ("7", "8", "9"):
        positions.write("https://a.example local", SavedPosition(last_id))
    gap = UnfilledGap("01J7", "01J8", 1, None, "the timeline answers 422", 3)
    info = InstanceInfo("b.example", "4.5.0", "public", "public", "https://streaming.b.example")
    positions.write("https://b.example local", SavedPosition("01J8", (gap,), info))
    positions.flush()
    _, others = open_kafka(settings)
    assert others.read() == {
        "https://a.example local": SavedPosition("9"),
        "https://b.example local": SavedPosition("01J8", (gap,), info),
    }


def test_position_of_the_first_version_is_decoded() -> None:
    """It had the id alone."""
    value = b'{"last_id": "115", "written_at": "2026-11-01T00:00:00+00:00"}'
    assert decode_position(value) == SavedPosition("115")


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    """A listener that was set back one version goes on."""
    value = b'{"last_id": null, "unfilled_gaps": [], "discovered": null, "mood": "good"}'
    assert decode_position(value) == SavedPosition()
