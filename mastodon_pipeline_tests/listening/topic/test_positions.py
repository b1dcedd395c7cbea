"""Positions in Kafka: read back by another process, whichever version wrote them."""

import pytest

from mastodon_pipeline.errors import TopicReplaced
from mastodon_pipeline.kafka import admin_client, topic_id
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.listening.following.instance import InstanceInfo
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.topic.landed_positions import (
    LandedPositions,
    save_landed_positions,
)
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.positions import current_key, decode_position
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.waiting import wait_until

FEED = "https://a.example local"


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


def test_position_saved_by_another_spelling_of_the_server_is_found(settings: Settings) -> None:
    """The first version kept a server as a person wrote it; of two spellings the later counts.

    Shows G2.
    """
    _, positions = open_kafka(settings)
    positions.write("https://bücher.example local", SavedPosition("7"))
    positions.write("https://one.example.:443 public", SavedPosition("1"))
    positions.write("https://one.example public", SavedPosition("2"))
    positions.write("what this is nobody knows", SavedPosition("3"))
    positions.flush()
    saved = positions.read()
    assert saved["https://xn--bcher-kva.example local"] == SavedPosition("7")
    assert saved["https://one.example public"] == SavedPosition("2")
    assert saved["what this is nobody knows"] == SavedPosition("3")


@pytest.mark.parametrize(
    ("key", "current"),
    [
        ("https://a.example local", "https://a.example local"),
        ("https://Bücher.example:443 public", "https://xn--bcher-kva.example public"),
        ("http://127.0.0.1:9101 local", "http://127.0.0.1:9101 local"),
        ("local", "local"),
        ("", ""),
    ],
)
def test_key_is_that_of_the_servers_name(key: str, current: str) -> None:
    """Shows G2."""
    assert current_key(key).strip() == current


def test_position_of_the_first_version_is_decoded() -> None:
    """It had the id alone."""
    value = b'{"last_id": "115", "written_at": "2026-11-01T00:00:00+00:00"}'
    assert decode_position(value) == SavedPosition("115")


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    """A listener that was set back one version goes on."""
    value = b'{"last_id": null, "unfilled_gaps": [], "discovered": null, "mood": "good"}'
    assert decode_position(value) == SavedPosition()


def test_position_that_kafka_has_lost_is_read_from_what_has_landed(settings: Settings) -> None:
    """With a mark: all that came after it is read again. Shows G2."""
    ensure_bucket(settings)
    gap = UnfilledGap("1", "2", 1, None, "the timeline answers 422", 3)
    landed = LandedPositions({FEED: SavedPosition("9", (gap,))})
    assert save_landed_positions(settings, landed, None)
    _, positions = open_kafka(settings)
    assert positions.read((FEED, "https://new.example local")) == {
        FEED: SavedPosition("9", (gap,), from_landed=True)
    }
    positions.write(FEED, SavedPosition("12", from_landed=True))
    positions.flush()
    assert positions.read((FEED,)) == {FEED: SavedPosition("12", from_landed=True)}


def test_listener_ends_once_its_topic_was_made_again_and_its_positions_count_no_more(
    settings: Settings,
) -> None:
    """What they cover may have been in the former topic alone. Shows G2."""
    _, positions = open_kafka(settings)
    positions.write(FEED, SavedPosition("9"))
    positions.flush()
    positions.check()
    admin = admin_client(settings)  # held until it is done
    [deletion] = admin.delete_topics([settings.kafka_topic]).values()
    deletion.result(300)
    wait_until(lambda: topic_id(settings, settings.kafka_topic) is None, "the topic is gone")
    with pytest.raises(TopicReplaced):
        positions.check()
    _, others = open_kafka(settings)
    with pytest.raises(TopicReplaced):
        positions.check()
    assert others.read() == {}
