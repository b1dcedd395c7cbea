"""`hashtag_usage`: folded hashtags, their spelling, and who used them."""

from pathlib import Path

import pytest

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.hashtags import hashtags_equal_recount
from mastodon_pipeline.usage.tables.hashtags import HASHTAG_USAGE, build_hashtags
from mastodon_pipeline_tests.support.building import build_hours, plant
from mastodon_pipeline_tests.support.local_lake import (
    HOUR,
    Record,
    delete,
    in_order,
    land,
    record,
    rows,
)


def toots(*each: Record) -> list[Record]:
    """Different toots, with these fields."""
    return [record(uri=f"u{n}", status_id=str(n), **fields) for n, fields in enumerate(each)]


def hashtags_of(lake: Lake, *landed: Record) -> list[tuple[object, ...]]:
    """The hour's hashtags, built from these records, without the hour."""
    land(lake, *landed)
    build_hours(lake, HOUR)
    built = rows(lake, HASHTAG_USAGE.path(lake.layout, HOUR))
    assert all(row.pop("hour") == HOUR for row in built)
    assert hashtags_equal_recount(lake, HASHTAG_USAGE.name, [HOUR]).passed
    return [tuple(row.values()) for row in built]


def test_spellings_are_one_hashtag_and_the_most_used_stands_for_it(lake: Lake) -> None:
    """Tag, spelling, toots, users, servers, languages; the most used first."""
    posted = toots(
        {"tag_names": ["CaturDay", "cats"]},
        {"tag_names": ["caturday"], "username": "ben", "language_primary": "de"},
        {"tag_names": ["CaturDay"], "server": "two.example", "language_primary": ""},
        {"tag_names": ["CATURDAY", "caturday", "CaturDay"]},
    )
    assert hashtags_of(lake, *posted) == [
        ("caturday", "CaturDay", 4, 3, 2, 2),
        ("cats", "cats", 1, 1, 1, 1),
    ]


def test_composed_and_decomposed_letters_are_one_hashtag(lake: Lake) -> None:
    """Accents make another: café is not cafe."""
    posted = toots(
        {"tag_names": ["Caf\N{LATIN SMALL LETTER E WITH ACUTE}"]},
        {"tag_names": ["Cafe\N{COMBINING ACUTE ACCENT}"]},
        {"tag_names": ["cafe"]},
    )
    counts = {tag: toots for tag, _, toots, *_ in hashtags_of(lake, *posted)}
    assert counts == {"caf\N{LATIN SMALL LETTER E WITH ACUTE}": 2, "cafe": 1}


def test_deleted_toots_and_empty_names_are_left_out(lake: Lake) -> None:
    posted = toots({"tag_names": ["kept", ""]}, {"tag_names": ["gone"]}, {})
    landed = in_order(*posted, delete(uri="u1", status_id="1"))
    assert hashtags_of(lake, *landed) == [("kept", "kept", 1, 1, 1, 1)]


def test_hour_without_hashtags_has_a_table_without_rows(lake: Lake) -> None:
    assert hashtags_of(lake, record()) == []
    Path(lake.layout.toots(HOUR)).unlink()
    with pytest.raises(TableError, match="toots,hashtag_usage"):
        build_hashtags(lake, HOUR)


@pytest.mark.parametrize(
    "fault",
    [
        "UPDATE planted SET users = users + 1",
        "UPDATE planted SET spelling = 'dogs'",
        "UPDATE planted SET tag = 'dogs'",
        "DELETE FROM planted",
        "INSERT INTO planted SELECT * REPLACE ('dogs' AS tag) FROM planted",
    ],
)
def test_check_finds_what_differs_from_the_toots(lake: Lake, fault: str) -> None:
    hashtags_of(lake, *toots({"tag_names": ["cats"]}))
    plant(lake, HASHTAG_USAGE.path(lake.layout, HOUR), fault)
    assert not hashtags_equal_recount(lake, HASHTAG_USAGE.name, [HOUR]).passed
