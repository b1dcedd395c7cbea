"""Toots that not everybody may read are not recorded, in whatever feed a server lists them."""

import json

import pytest

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.records.record import ObservingServer
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.recording_sink import RecordingSink

TOOT = {
    "id": "1",
    "uri": "https://a.example/1",
    "created_at": "2026-05-01T10:00:00.000Z",
    "account": {"acct": "ann"},
    "content": "<p>for friends</p>",
}


@pytest.mark.parametrize("event", ["update", "status.update"])
@pytest.mark.parametrize("fields", [{"visibility": "private"}, {"local_only": "true"}])
@pytest.mark.parametrize("created_at", [TOOT["created_at"], "no time"])
def test_private_toot_is_neither_recorded_nor_a_dead_letter(
    created_at: str, fields: dict[str, object], event: str
) -> None:
    """It is counted, and the next toot is recorded. Shows G15 and P3."""
    sink, statistics = RecordingSink(), ServerStatistics(parse_server("a.example"))
    observer = ObservingServer("https://a.example", "a.example")
    recorder = TootRecorder(observer, sink, SeenToots(), FeedPosition(None), statistics)
    private = TOOT | {"visibility": "public", "created_at": created_at} | fields
    recorder.take(json.dumps(private).encode(), event, "stream")
    assert not sink.records
    assert not sink.dead_letters
    recorder.take(json.dumps(TOOT | {"id": "2"}).encode(), event, "stream")
    assert len(sink.records) == 1
    assert statistics.snapshot().not_public == 1
