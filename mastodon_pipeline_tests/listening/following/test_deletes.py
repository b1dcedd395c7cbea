"""A toot that is deleted after its listener restarted leaves no text behind."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import asdict

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.server import delete
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.local_lake import land, local_lake, record, rows
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

PAST = Options(
    servers=(ServerPolicy("stream.example", thump_seconds=0.1),),
    toots=40,
    hours=5,
    end=int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000),  # whole hours, whenever it runs
    speed=float("inf"),
    start="control",
)


def landed(sent: TootRecord, offset: int) -> dict[str, Any]:
    """Return the record as the sink writes it: times as times, with Kafka's coordinates."""
    times = {
        name: datetime.fromtimestamp(value / 1000, UTC)
        for name, value in asdict(sent).items()
        if name.endswith("_at") and value is not None
    }
    return record(
        **{**asdict(sent), **times, "kafka_offset": offset, "kafka_timestamp": times["created_at"]}
    )


def test_delete_after_a_restart_blanks_its_toot_of_hours_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new listener knows only the id, which leads to the hour and to the toot in it.

    Shows G15.
    """
    positions = MemoryPositions()
    with Simulator(PAST) as simulator:
        with listening_to(simulator, monkeypatch, positions=positions) as before:
            before.wait_until_connected()
            simulator.start_publishing()
            simulator.wait_until_done()
            toot = next(
                toot
                for toot in simulator.fediverse.toots
                if not toot.deleted and not toot.author.noindex and toot.body.text
            )
            before.wait_for_toots([toot.uri])
        with listening_to(simulator, monkeypatch, positions=positions) as after:
            after.wait_until_connected()
            servers = simulator.fediverse.by_domain
            simulator.call(lambda: delete(toot, servers))
            wait_until(lambda: after.sink.uris("delete") == [""], "the delete")
    hour = datetime.fromtimestamp(toot.created_at // 3_600_000 * 3600, UTC)
    with local_lake(tmp_path) as lake:
        for name, scene in (("before", before), ("after", after)):
            offset = 1000 * (scene is after)
            records = [landed(sent, offset + n) for n, sent in enumerate(scene.sink.records)]
            land(lake, *records, name=name)
            by_uri = {row["uri"]: row for row in rows(lake, build_toots(lake, hour).path)}
            assert by_uri[toot.uri]["deleted"] == (scene is after)
            assert bool(by_uri[toot.uri]["mastodon_text"]) == (scene is before)
        assert any(row["mastodon_text"] for row in by_uri.values()), "the others keep their text"
