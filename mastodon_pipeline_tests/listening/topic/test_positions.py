"""Positions are read whichever version of the listener wrote them."""

from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.topic.positions import decode_position


def test_a_position_of_the_first_version_is_read() -> None:
    """It had the id alone."""
    value = b'{"last_id": "115", "written_at": "2026-11-01T00:00:00+00:00"}'
    assert decode_position(value) == SavedPosition("115")


def test_what_a_later_version_adds_does_not_disturb() -> None:
    """A listener that was set back one version goes on."""
    value = b'{"last_id": null, "unfilled_gaps": [], "discovered": null, "mood": "good"}'
    assert decode_position(value) == SavedPosition()
