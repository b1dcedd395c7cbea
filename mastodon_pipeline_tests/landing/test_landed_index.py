"""The index of the landed files, and which offsets are missing from it."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.landed_index import (
    LandedToots,
    index_landed,
    landed_toots,
    load_ranges,
)
from mastodon_pipeline_tests.support.local_lake import HOUR, land, local_lake, record, write_parquet

Missing = list[tuple[int, int, int, list[int]]]


def missing(
    ranges: list[tuple[int, int, int]],
    *,
    low: int = 0,
    committed: int = 10,
    dead: tuple[int, ...] = (),
    examples: int = 100,
) -> tuple[int, int, list[int]]:
    """Return a partition's landed and missing offsets, counted, and the first missing ones."""
    with duckdb.connect() as connection:
        connection.execute(
            "CREATE TEMP TABLE landed_range"
            " (kafka_partition INTEGER, first_offset BIGINT, last_offset BIGINT)"
        )
        for stretch in ranges:
            connection.execute("INSERT INTO landed_range VALUES (?, ?, ?)", stretch)
        rows: Missing = connection.execute(
            query("landing/missing_offsets"),
            {
                "partitions": [0],
                "lows": [low],
                "committed": [committed],
                "dead_partitions": [0] * len(dead),
                "dead_offsets": list(dead),
                "examples": examples,
            },
        ).fetchall()
    ((partition, landed, lost, first_lost),) = rows
    assert partition == 0
    return landed, lost, first_lost


@pytest.mark.parametrize(
    ("ranges", "landed", "lost"),
    [
        ([(0, 0, 9)], 10, []),
        ([(0, 0, 4), (0, 5, 9)], 10, []),
        ([(0, 5, 9), (0, 0, 4), (0, 3, 7)], 10, []),
        ([(0, 0, 9), (0, 2, 3)], 10, []),
        ([], 0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ([(0, 1, 9)], 9, [0]),
        ([(0, 0, 8)], 9, [9]),
        ([(0, 0, 2), (0, 6, 9)], 7, [3, 4, 5]),
        ([(0, 0, 9), (0, 0, 1), (0, 12, 20)], 10, []),
        ([(1, 0, 9)], 0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ([(0, 0, 1), (0, 3, 3), (0, 5, 9), (0, 3, 3)], 8, [2, 4]),
    ],
)
def test_gaps_between_landed_ranges_are_missing(
    ranges: list[tuple[int, int, int]], landed: int, lost: list[int]
) -> None:
    """At either end and in the middle, in any order and with any overlap."""
    assert missing(ranges) == (landed, len(lost), lost)


def test_only_offsets_that_kafka_holds_and_the_sink_has_committed_are_checked() -> None:
    """The files hold older ones, and some beyond the watermark. Shows G10."""
    assert missing([(0, 0, 5), (0, 8, 30)], low=4, committed=9) == (3, 2, [6, 7])
    assert missing([(0, 0, 5)], low=7, committed=7) == (0, 0, [])
    assert missing([(0, 0, 5)], low=7, committed=0) == (0, 0, [])


def test_dead_lettered_offsets_are_not_missing() -> None:
    """Nor counted as landed; one that landed as well, by a replay, is no gap."""
    assert missing([(0, 0, 3), (0, 6, 9)], dead=(4, 8)) == (8, 1, [5])


def test_examples_of_missing_offsets_are_bounded_and_their_count_is_not() -> None:
    """The first ones of each partition, past dead-lettered offsets too."""
    assert missing([], committed=10_000_000, examples=3) == (0, 10_000_000, [0, 1, 2])
    assert missing([], dead=(0, 1, 2), examples=2) == (0, 7, [3, 4])


@pytest.fixture
def empty_lake(tmp_path: Path) -> Iterator[Lake]:
    """A lake in a local directory."""
    with local_lake(tmp_path) as lake:
        yield lake


def test_nothing_has_landed_in_an_empty_lake(empty_lake: Lake) -> None:
    assert landed_toots(empty_lake) == LandedToots()


def test_removed_files_are_counted_by_their_receipts(empty_lake: Lake) -> None:
    """Their offsets are in the index, and they are neither rows nor files that have landed."""
    land(empty_lake, record(created_at=HOUR, kafka_offset=1))
    receipt = f"{empty_lake.layout.removed_hour(HOUR - timedelta(hours=1))}receipt.parquet"
    write_parquet(empty_lake.connection, receipt, [record(kafka_offset=7)])
    landed = landed_toots(empty_lake)
    assert (landed.files, landed.rows, landed.hours, landed.opened) == (1, 1, 1, 2)
    load_ranges(empty_lake)
    ranges = empty_lake.connection.execute(
        "SELECT kafka_partition, first_offset, last_offset FROM landed_range ORDER BY ALL"
    ).fetchall()
    assert ranges == [(0, 1, 1), (0, 7, 7)]
    assert landed_toots(empty_lake).opened == 0


def test_records_of_an_earlier_topic_are_known_by_their_time(empty_lake: Lake) -> None:
    """A Kafka that lost its data gives out the same offsets again, and never the same times."""
    switch = HOUR + timedelta(minutes=30)
    before = [record(kafka_offset=n, kafka_timestamp=HOUR) for n in range(5)]
    after = [record(kafka_offset=n, kafka_timestamp=switch) for n in range(3)]
    land(empty_lake, *before, name="before")
    land(empty_lake, *after, name="after")
    index_landed(empty_lake)
    for bounds, last in (((None, switch), 4), ((switch, None), 2)):
        load_ranges(empty_lake, *bounds)
        ranges = empty_lake.connection.execute("FROM landed_range").fetchall()
        assert [row[:3] for row in ranges] == [(0, 0, last)]
