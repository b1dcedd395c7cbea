"""Every landed toot is in some table; what is being built is waited for."""

from datetime import timedelta
from pathlib import Path

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.ledger.state import State
from mastodon_pipeline.ledger.tabled import PATIENCE, missing_toots
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, delete, land, record

FIRST = HOUR - timedelta(hours=3)


def missing(lake: Lake, state: State | None = None) -> list[tuple[str, int]]:
    """Return the missing toots as of a time at which all must be built."""
    files = lake.parquet_files(lake.layout.landed())
    due = max(file.modified for file in files) + PATIENCE + timedelta(seconds=1)
    losses, _ = missing_toots(lake, state or State(), FIRST, due)
    return [(loss.source, loss.records) for loss in losses]


def test_toots_are_missing_once_they_should_be_built(lake: Lake) -> None:
    """Not before: a minute is usual."""
    other = record(uri="b", base_url="https://two.example", kafka_offset=2)
    land(lake, record(kafka_offset=1), other)
    newest = lake.parquet_files(lake.layout.landed())[0].modified
    assert missing_toots(lake, State(), FIRST, newest + PATIENCE) == ([], 0)
    assert missing(lake) == [("https://one.example", 1), ("https://two.example", 1)]
    build_hours(lake, HOUR)
    assert missing(lake) == []


def test_deletes_edits_and_copies_are_no_toots_of_their_own(lake: Lake) -> None:
    land(
        lake,
        record(kafka_offset=1),
        record(kafka_offset=2, event="status.update"),
        record(kafka_offset=3, base_url="https://two.example"),
        delete(uri="never seen", kafka_offset=4),
    )
    build_hours(lake, HOUR)
    assert missing(lake) == []


def test_toot_that_the_hour_before_counts_is_not_missing(lake: Lake) -> None:
    """The clock of its server runs ahead, so it has two times of ours."""
    tolerance = timedelta(minutes=5)
    early, late = HOUR - timedelta(seconds=1), HOUR + timedelta(seconds=1)
    land(lake, record(created_at=early, ingested_at=early - tolerance, kafka_offset=1))
    land(lake, record(created_at=late, ingested_at=late - tolerance, kafka_offset=2))
    build_hours(lake, HOUR - timedelta(hours=1), HOUR)
    assert missing(lake) == []


def test_hour_is_compared_once_a_version(lake: Lake) -> None:
    """And again when its table, or what landed, is another."""
    state = State()
    land(lake, record(kafka_offset=1))
    build_hours(lake, HOUR)
    assert missing(lake, state) == []
    [(version, rows)] = state.tabled.values()
    state.tabled = {key: (version, [("remembered", 7)]) for key in state.tabled}
    assert missing(lake, state) == [("remembered", 7)]
    Path(lake.layout.toots(HOUR)).unlink()
    assert missing(lake, state) == [("https://one.example", 1)]
    assert rows == []
