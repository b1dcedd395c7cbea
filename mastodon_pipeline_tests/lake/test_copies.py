"""Copies of an hour's records: the same rows as the landed files', and each fetched once."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline_tests.support.local_lake import HOUR, land, record


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
