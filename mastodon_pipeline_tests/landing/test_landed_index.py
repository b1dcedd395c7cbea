"""What the landed files hold, and which offsets are missing, told by DuckDB alone."""

import duckdb
import pytest

from mastodon_pipeline.lake.queries import query

Missing = list[tuple[int, int, int, list[int]]]


def missing(
    ranges: list[tuple[int, int, int]],
    *,
    low: int = 0,
    committed: int = 10,
    dead: tuple[int, ...] = (),
    examples: int = 100,
) -> tuple[int, int, list[int]]:
    """Of one partition: how many landed, how many are missing, and the first of these."""
    with duckdb.connect() as lake:
        lake.execute(query("landing/landed_folder"))
        for number, (partition, first, last) in enumerate(ranges):
            lake.execute(
                "INSERT INTO landed_folder VALUES ($folder, '', 1, [{_partition: $partition,"
                " first_offset: $first, last_offset: $last}])",
                {"folder": str(number), "partition": partition, "first": first, "last": last},
            )
        found: Missing = lake.execute(
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
    ((partition, landed, lost, first_lost),) = found
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
def test_holes_between_ranges_are_missing(
    ranges: list[tuple[int, int, int]], landed: int, lost: list[int]
) -> None:
    """At either end and in the middle, whatever the order and however they overlap."""
    assert missing(ranges) == (landed, len(lost), lost)


def test_only_what_kafka_still_holds_and_the_sink_has_committed_is_looked_for() -> None:
    """Files reach further back, and beyond the watermark."""
    assert missing([(0, 0, 5), (0, 8, 30)], low=4, committed=9) == (3, 2, [6, 7])
    assert missing([(0, 0, 5)], low=7, committed=7) == (0, 0, [])
    assert missing([(0, 0, 5)], low=7, committed=0) == (0, 0, [])


def test_dead_lettered_offsets_are_not_missing() -> None:
    """Nor counted as landed; one that landed as well, by a replay, is no hole."""
    assert missing([(0, 0, 3), (0, 6, 9)], dead=(4, 8)) == (8, 1, [5])


def test_examples_are_bounded_and_the_count_is_not() -> None:
    """The first of each partition, also behind dead-lettered ones."""
    assert missing([], committed=10_000_000, examples=3) == (0, 10_000_000, [0, 1, 2])
    assert missing([], dead=(0, 1, 2), examples=2) == (0, 7, [3, 4])


def test_a_folder_is_counted_as_ranges(tmp_path: object) -> None:
    """Copies once in the ranges, and each time in the rows."""
    path = f"{tmp_path}/a.parquet"
    with duckdb.connect() as lake:
        lake.execute(query("landing/landed_folder"))
        lake.execute(
            "COPY (SELECT unnest([0, 0, 0, 0, 1, 1]) AS _partition,"
            " unnest([4, 5, 5, 9, 5, 6])::BIGINT AS _offset) TO $path",
            {"path": path},
        )
        values = {"folder": "here", "version": "1", "files": [path]}
        lake.execute(query("landing/index_folder"), values)
        (found,) = lake.execute("FROM landed_folder").fetchall()
    assert found[:3] == ("here", "1", 6)
    assert [tuple(stretch.values()) for stretch in found[3]] == [(0, 4, 5), (0, 9, 9), (1, 5, 6)]
