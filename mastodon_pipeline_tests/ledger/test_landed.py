"""Landed records are counted once each, whatever files they are in, and files only once."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.ledger import landed as landed_module
from mastodon_pipeline.ledger.landed import count_landed, count_only_replayed
from mastodon_pipeline.ledger.state import State
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record

ONE, TWO = "https://one.example", "https://two.example"
RECEIVED = int(HOUR.timestamp() * 1000)
SINCE = datetime.now(UTC) - timedelta(days=3)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The files that are opened to be counted."""
    paths: list[str] = []
    count = landed_module._count

    def counting(lake: Lake, files: list[str]) -> landed_module.Counts:
        paths.extend(Path(path).name for path in files)
        return count(lake, files)

    monkeypatch.setattr(landed_module, "_count", counting)
    yield paths
    paths.clear()


def test_record_that_landed_twice_counts_once(lake: Lake) -> None:
    """In one file, in two, and in one that was written hours later."""
    land(lake, record(kafka_offset=1), record(kafka_offset=1), record(kafka_offset=2), name="a")
    land(lake, record(kafka_offset=2), record(kafka_offset=3, base_url=TWO), name="b")
    later = f"{lake.layout.landed_hour(HOUR)}c.parquet"
    land(lake, record(kafka_offset=3, base_url=TWO), record(kafka_offset=4), name="c")
    _age(later, timedelta(hours=5))
    assert dict(count_landed(lake, State(), SINCE).records) == {
        (ONE, RECEIVED): 3,
        (TWO, RECEIVED): 1,
    }


def test_offsets_that_a_kafka_gave_twice_are_two_records(lake: Lake) -> None:
    """It started over; the records were received at other times."""
    later = HOUR + timedelta(seconds=1)
    land(lake, record(kafka_offset=1), record(kafka_offset=1, ingested_at=later))
    assert count_landed(lake, State(), SINCE).records[ONE, RECEIVED] == 2


def test_records_count_in_their_hour_of_receiving(lake: Lake) -> None:
    """Whatever their hour of posting; those that were sent again by replay apart."""
    land(lake, record(kafka_offset=1, created_at=HOUR - timedelta(hours=3)))
    land(lake, record(kafka_offset=2, ingested_at=HOUR + timedelta(hours=1)), name="b")
    land(lake, record(kafka_offset=3, source="replay"), name="c")
    landed = count_landed(lake, State(), SINCE)
    assert dict(landed.records) == {(ONE, RECEIVED): 1, (ONE, RECEIVED + 3_600_000): 1}
    assert {cell: n for cell, n in landed.replayed.items() if n} == {(ONE, RECEIVED): 1}


def test_what_was_sent_again_and_had_landed_stands_for_nothing_that_is_missing(lake: Lake) -> None:
    """Whoever replays an hour that lacks toots sends those that it has."""
    landed = [record(status_id=f"{n}", kafka_offset=n) for n in range(5)]
    again = [{**each, "source": "replay", "kafka_offset": 10 + n} for n, each in enumerate(landed)]
    missing = record(status_id="missing", source="replay", kafka_offset=20)
    land(lake, *landed, *again, missing)
    cell = (ONE, RECEIVED)
    assert count_landed(lake, State(), SINCE).replayed[cell] == 6
    assert count_only_replayed(lake, [cell, (TWO, RECEIVED)], SINCE) == {
        cell: 1,
        (TWO, RECEIVED): 0,
    }


def test_only_hours_whose_files_changed_are_opened_again(lake: Lake, opened: list[str]) -> None:
    """Of three days of files that is the running hour's."""
    state = State()
    land(lake, record(kafka_offset=1), name="old")
    _age(f"{lake.layout.landed_hour(HOUR)}old.parquet", timedelta(hours=5))
    land(lake, record(kafka_offset=2), name="new")
    count_landed(lake, state, SINCE)
    opened.clear()
    assert count_landed(lake, state, SINCE).records[ONE, RECEIVED] == 2
    assert opened == []
    land(lake, record(kafka_offset=3), name="newer")
    assert count_landed(lake, state, SINCE).records[ONE, RECEIVED] == 3
    assert "old.parquet" not in opened


def test_folders_of_days_that_are_not_compared_are_not_listed(lake: Lake) -> None:
    """But by the first check, whose memory was lost; the other folders always are, old or late."""
    state, listed = State(), []

    def list_files(prefix: str, after: str = "") -> Iterator[StoredFile]:
        for file in lake.list_files(prefix, after):
            listed.append(file.path)
            yield file

    watched = replace(lake, list_files=list_files)
    ages = (900, 2, 1, 0, -3)  # of days of arrival, from the first that is compared
    days = [lake.layout.landed_day(SINCE - timedelta(days=age)) for age in ages]
    folders = [lake.layout.landed_hour(HOUR - timedelta(days=400)), *days]
    for number, folder in enumerate(folders):
        land(lake, record(kafka_offset=number), name="a")
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(f"{lake.layout.landed_hour(HOUR)}a.parquet").rename(f"{folder}a.parquet")
    assert count_landed(watched, state, SINCE).records[ONE, RECEIVED] == 6
    state.checked_at = 1
    listed.clear()
    assert count_landed(watched, state, SINCE).records[ONE, RECEIVED] == 4
    # The first one is seen, where the listing of the other folders ends.
    assert listed == [f"{folder}a.parquet" for folder in (*folders[:2], *folders[3:])]


@pytest.mark.parametrize(
    ("content", "what"), [(None, "is gone"), (b"PAR1PAR", "cannot be read"), (b"", "cannot be")]
)
def test_file_that_is_lost_or_damaged_is_named(
    lake: Lake, content: bytes | None, what: str
) -> None:
    """The others count all the same."""
    state = State()
    land(lake, record(kafka_offset=1), name="a")
    land(lake, record(kafka_offset=2), name="b")
    count_landed(lake, state, SINCE)
    path = Path(f"{lake.layout.landed_hour(HOUR)}a.parquet")
    path.unlink() if content is None else path.write_bytes(content)
    landed = count_landed(lake, state, SINCE)
    assert landed.records[ONE, RECEIVED] == 1
    assert f"{path} {what}" in landed.suspects[ONE, RECEIVED]


def _age(path: str, age: timedelta) -> None:
    """Date a file back."""
    import os

    moment = (datetime.now(UTC) - age).timestamp()
    os.utime(path, (moment, moment))
