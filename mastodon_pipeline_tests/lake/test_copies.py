"""Copies of records: the same rows as the landed files', and each file is fetched once."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake import copies
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record, write_parquet

pytestmark = pytest.mark.thorough


@pytest.fixture
def copying(lake: Lake) -> Iterator[Lake]:
    """A lake whose copies are in use."""
    with lake.copies.in_use():
        yield lake


def landed(lake: Lake) -> tuple[StoredFile, ...]:
    return lake.landed.of_hour(HOUR)


def uris(lake: Lake, files: Sequence[StoredFile]) -> list[str]:
    """The records of the hour, as copies of these files show them."""
    paths = [*lake.copies.paths(HOUR, files)]
    assert not any("topics" in path for path in paths), "these are no copies"
    table = lake.connection.read_parquet([lake.empty_record, *paths], union_by_name=True)
    return sorted(uri for (uri,) in table.select("uri").fetchall())


def test_landed_file_is_fetched_once(copying: Lake) -> None:
    """What was copied before is not read again, and other hours' records are left out."""
    land(copying, record(uri="a"), record(uri="x", created_at=HOUR - timedelta(hours=1)), name="1")
    first = landed(copying)
    assert uris(copying, first) == ["a"]
    land(copying, record(uri="b"), name="2")
    both = landed(copying)
    Path(first[0].path).unlink()
    assert uris(copying, both) == ["a", "b"]


def test_copy_is_made_again_without_a_file_that_is_gone(copying: Lake) -> None:
    land(copying, record(uri="a"), name="1")
    land(copying, record(uri="b"), name="2")
    both = landed(copying)
    assert uris(copying, both) == ["a", "b"]
    assert uris(copying, both[1:]) == ["b"]


def test_file_in_another_version_is_copied_again(copying: Lake) -> None:
    land(copying, record(uri="a"), name="1")
    assert uris(copying, landed(copying)) == ["a"]
    land(copying, record(uri="a longer one"), name="1")
    assert uris(copying, landed(copying)) == ["a longer one"]


def test_damaged_file_is_left_to_the_reader(copying: Lake) -> None:
    """A build that reads the landed files themselves finds out which it is."""
    land(copying, record(uri="a"), name="1")
    files = landed(copying)
    Path(files[0].path).write_bytes(b"PAR1 no more PAR1")
    assert copying.copies.paths(HOUR, files) == (files[0].path,)


def test_without_a_process_that_repeats_itself_there_are_no_copies(lake: Lake) -> None:
    land(lake, record(uri="a"), name="1")
    files = landed(lake)
    assert lake.copies.paths(HOUR, files) == (files[0].path,)


def test_copies_of_two_hours_stay(copying: Lake) -> None:
    """A code server lives for months."""
    for ago in range(5):
        hour = HOUR - timedelta(hours=ago)
        land(copying, record(uri=f"{ago}", created_at=hour))
        copying.copies.paths(hour, copying.landed.of_hour(hour))
    assert len([*Path(copying.empty_record).parent.glob("records-*")]) == 2


HOURS = [HOUR - timedelta(hours=ago) for ago in range(30)]


def land_many(lake: Lake, name: str, *hours: datetime, **fields: object) -> None:
    """Land a record of each of these hours, in one file."""
    records = [record(uri=f"{name}{hour:%d-%H}", created_at=hour, **fields) for hour in hours]
    write_parquet(lake.connection, f"{lake.layout.landed_hour(HOUR)}{name}.parquet", records)


def of_range(lake: Lake) -> dict[datetime, tuple[StoredFile, ...]]:
    lake.landed.refresh()
    return lake.landed.of_hours(HOURS)


def test_files_of_many_hours_are_divided_by_one_reading(lake: Lake) -> None:
    """Each hour then has the records that it has in the landed files, which are read no more."""
    land_many(lake, "a", *HOURS)
    land_many(lake, "b", *HOURS[:10])
    by_hour = of_range(lake)
    with lake.copies.of_range(lambda: by_hour):
        lake.copies.paths(HOUR, by_hour[HOUR])
        for file in by_hour[HOUR]:
            Path(file.path).unlink()
        for number, hour in enumerate(HOURS):
            paths = lake.copies.paths(hour, by_hour[hour])
            table = lake.connection.read_parquet([lake.empty_record, *paths], union_by_name=True)
            expected = [f"{name}{hour:%d-%H}" for name in ("ab" if number < 10 else "a")]
            assert sorted(uri for (uri,) in table.select("uri").fetchall()) == expected
            assert lake.connection.read_parquet(lake.empty_record).columns == table.columns
    assert not any(Path(path).exists() for path in paths), "they go at the end"


def test_hour_whose_files_are_others_by_now_is_read_from_them(lake: Lake) -> None:
    land_many(lake, "a", *HOURS)
    by_hour = of_range(lake)
    with lake.copies.of_range(lambda: by_hour):
        lake.copies.paths(HOUR, by_hour[HOUR])
        land_many(lake, "b", HOUR)
        now = of_range(lake)[HOUR]
        assert lake.copies.paths(HOUR, now) == tuple(file.path for file in now)


def test_files_of_an_hour_each_are_not_divided(lake: Lake) -> None:
    """To read them once more would take longer than it saves."""
    for hour in HOURS:
        land(lake, record(uri=f"{hour}", created_at=hour))
    by_hour = of_range(lake)
    with lake.copies.of_range(lambda: by_hour):
        assert lake.copies.paths(HOUR, by_hour[HOUR]) == tuple(f.path for f in by_hour[HOUR])


def test_large_files_are_not_divided(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copies, "MOST_BYTES", 100)
    land_many(lake, "a", *HOURS)
    by_hour = of_range(lake)
    with lake.copies.of_range(lambda: by_hour):
        assert lake.copies.paths(HOUR, by_hour[HOUR]) == tuple(f.path for f in by_hour[HOUR])


@pytest.mark.parametrize("damage", ["cut", "text"])
def test_one_damaged_file_spoils_no_copies(lake: Lake, damage: str) -> None:
    """All are read by themselves, so a build finds out which is damaged."""
    land_many(lake, "a", *HOURS)
    land_many(lake, "b", *HOURS[:2])
    by_hour = of_range(lake)
    path = f"{lake.layout.landed_hour(HOUR)}b.parquet"
    if damage == "cut":
        Path(path).write_bytes(b"PAR1 no more PAR1")
    else:
        whole = lake.connection.read_parquet(path).project("* REPLACE ('many' AS favourites)")
        whole.create("text")
        lake.connection.table("text").write_parquet(path)
    with lake.copies.of_range(lambda: by_hour):
        for hour in HOURS:
            assert lake.copies.paths(hour, by_hour[hour]) == tuple(f.path for f in by_hour[hour])
