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
from mastodon_pipeline_tests.listening.conftest import listening, simulator_settings
from mastodon_pipeline_tests.support.local_lake import land, local_lake, record, rows
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)

PAST = Options(
    servers=(ServerPolicy("stream.example"),),
    toots=40,
    hours=5,
    end=int(datetime(2026, 11, 1, tzinfo=UTC).timestamp() * 1000),  # whole hours, whenever it runs
    speed=float("inf"),
    start="control",
)


def landed(sent: TootRecord, offset: int) -> dict[str, Any]:
    """The record as the sink writes it: times as times, Kafka's coordinates beside it."""
    times = {
        name: datetime.fromtimestamp(value / 1000, UTC)
        for name, value in asdict(sent).items()
        if name.endswith("_at") and value is not None
    }
    return record(**{**asdict(sent), **times, "_offset": offset, "_ts": times["created_at"]})


def test_a_delete_after_a_restart_blanks_its_toot_of_hours_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new listener knows the id alone, and that leads to the hour and the toot in it."""
    with Simulator(PAST) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        positions = MemoryPositions()
        before, after = RecordingSink(), RecordingSink()
        with listening(settings, before, positions) as listener:
            wait_until(lambda: listener.statistics[0].gaps_filled == 1, "the stream")
            simulator.start_publishing()
            simulator.wait_until_done()
            toot = next(
                toot
                for toot in simulator.fediverse.toots
                if not toot.deleted and not toot.author.noindex and toot.body.text
            )
            wait_until(lambda: toot.uri in before.uris(), "the toot")
        with listening(settings, after, positions) as listener:
            wait_until(lambda: listener.statistics[0].gaps_filled == 1, "the next stream")
            servers = simulator.fediverse.by_domain
            simulator.call(lambda: delete(toot, servers))
            wait_until(lambda: after.uris("delete") == [""], "the delete")
    hour = datetime.fromtimestamp(toot.created_at // 3_600_000 * 3600, UTC)
    with local_lake(tmp_path) as lake:
        for name, sink in (("before", before), ("after", after)):
            offset = 1000 * (sink is after)
            land(lake, *(landed(r, offset + n) for n, r in enumerate(sink.records)), name=name)
            found = {row["uri"]: row for row in rows(lake, build_toots(lake, hour).path)}
            assert found[toot.uri]["deleted"] == (sink is after)
            assert bool(found[toot.uri]["mastodon_text"]) == (sink is before)
        assert any(row["mastodon_text"] for row in found.values()), "the others keep their text"
