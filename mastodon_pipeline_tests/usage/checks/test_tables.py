"""The checks pass on what the pipeline builds, and fail on every error planted here."""

from datetime import timedelta

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.tables import (
    day_equals_its_hours,
    hours_equal_recount,
    mentions_are_possible,
    no_duplicate_toots,
    toots_sum_to_the_day,
)
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, delete, in_order, land, record

NEXT = HOUR + timedelta(hours=1)
SUMMED = ("app_usage", "hour_of_day_usage", "language_usage", "language_density")


@pytest.fixture
def built(lake: Lake) -> Lake:
    """An hour with copies, an edit, a delete and two servers, and all its tables."""
    two = {"base_url": "https://two.example", "status_id": "9", "acct": "ada@one.example"}
    land(
        lake,
        *in_order(
            record(),
            record(),
            record(**two, edited_at=HOUR + timedelta(minutes=1)),
            record(uri="b", status_id="2", server="two.example", reply=True, language_primary=""),
            delete(uri="b", status_id="2"),
            record(uri="c", status_id="3", server="two.example", username="robot", bot=True),
        ),
    )
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)
    for table in DAILY_TABLES:
        build_daily(lake, DAY, table)
    return lake


def plant(lake: Lake, path: str, changed: str) -> None:
    """Puts a changed copy of a table's file in its place, with the same word of its origin."""
    built_from = lake.built_from([path])[path]
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE planted AS FROM read_parquet('{path}',"
        " hive_partitioning := false)"
    )
    lake.connection.execute(changed)
    lake.connection.execute(
        "COPY planted TO $path (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": built_from},
    )


def test_all_checks_pass_on_what_was_built(built: Lake) -> None:
    """And they did compare something."""
    findings = [
        no_duplicate_toots(built, [HOUR]),
        hours_equal_recount(built, [HOUR]),
        day_equals_its_hours(built, "daily_usage", [DAY]),
        *(toots_sum_to_the_day(built, table, [DAY]) for table in SUMMED),
        mentions_are_possible(built, "term_mentions", [DAY]),
    ]
    assert [(found.faults, found.compared, found.unsettled) for found in findings] == [
        ((), 1, 0)
    ] * len(findings)


def test_a_toot_twice_in_its_hour_is_found(built: Lake) -> None:
    """Named by its uri."""
    plant(built, built.layout.toots(HOUR), "INSERT INTO planted FROM planted WHERE uri = 'c'")
    found = no_duplicate_toots(built, [HOUR])
    assert not found.passed
    assert "c: 2 copies" in found.summary


def test_a_toot_in_two_neighbouring_hours_is_found(built: Lake) -> None:
    """A clock that ran wild around the full hour."""
    land(built, record(uri="c", status_id="3", created_at=NEXT))
    build_toots(built, NEXT)
    assert not no_duplicate_toots(built, [HOUR]).passed
    assert not no_duplicate_toots(built, [NEXT]).passed


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE planted SET toots = toots + 1 WHERE server = 'one.example'",
        "UPDATE planted SET users = users + 1 WHERE server = 'one.example'",
        "UPDATE planted SET bots = 0",
        "UPDATE planted SET replies = 0",
        "UPDATE planted SET languages = 9 WHERE server = 'two.example'",
        "UPDATE planted SET seen_by = 1",
        "UPDATE planted SET hour = hour + INTERVAL 1 HOUR",
        "DELETE FROM planted WHERE server = 'two.example'",
        "INSERT INTO planted SELECT hour, 'three.example', 1, 1, 0, 0, 1, 1 FROM planted LIMIT 1",
    ],
)
def test_a_wrong_count_is_found(built: Lake, changed: str) -> None:
    """Any of them, and a server too many or too few."""
    plant(built, built.layout.toots_per_server(HOUR), changed)
    found = hours_equal_recount(built, [HOUR])
    assert not found.passed
    assert "2026-11-24 15:00" in found.summary


def test_a_toot_lost_on_the_way_is_found(built: Lake) -> None:
    """The recount does not go through `toots`."""
    plant(built, built.layout.toots(HOUR), "DELETE FROM planted WHERE uri = 'c'")
    build_toots_per_server(built, HOUR)
    assert "toots 1, recounted 2" in hours_equal_recount(built, [HOUR]).summary


def test_an_hour_with_newer_files_is_left_out_not_failed(built: Lake) -> None:
    """Files land at any moment: then the table is behind, not wrong."""
    land(built, record(uri="d", status_id="4"), name="later")
    found = hours_equal_recount(built, [HOUR])
    assert (found.passed, found.compared, found.unsettled) == (True, 0, 1)


def test_a_day_that_is_not_the_sum_of_its_hours_is_found(built: Lake) -> None:
    """With both figures named."""
    plant(built, built.layout.daily("daily_usage", DAY), "UPDATE planted SET toots = 7")
    assert "7 toots on 2 servers, but its hours have 3 on 2" in (
        day_equals_its_hours(built, "daily_usage", [DAY]).summary
    )


def test_a_day_behind_its_hours_is_left_out_not_failed(built: Lake) -> None:
    """It is due to be built anew."""
    land(built, record(uri="d", status_id="4"), name="later")
    build_toots(built, HOUR)
    found = day_equals_its_hours(built, "daily_usage", [DAY])
    assert (found.passed, found.compared, found.unsettled) == (True, 0, 1)


@pytest.mark.parametrize("table", SUMMED)
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("UPDATE planted SET toots = toots + 1 WHERE toots > 0", "but the day has 3"),
        ("DELETE FROM planted", "0 toots in"),
        ("UPDATE planted SET day = day + INTERVAL 1 DAY", "but the day has 3"),
    ],
)
def test_a_table_that_does_not_add_up_to_its_day_is_found(
    built: Lake, table: str, changed: str, said: str
) -> None:
    """Too many, too few, or another day's."""
    plant(built, built.layout.daily(table, DAY), changed)
    found = toots_sum_to_the_day(built, table, [DAY])
    assert not found.passed
    assert said in found.summary


@pytest.mark.parametrize(
    "changed",
    [
        "UPDATE planted SET toots = 4, mentions = 4 WHERE term = 'mastodon'",
        "UPDATE planted SET toots = 2, mentions = 1 WHERE term = 'mastodon'",
        "UPDATE planted SET toots = 0, mentions = 1 WHERE term = 'mastodon'",
        "UPDATE planted SET day = day + INTERVAL 1 DAY",
    ],
)
def test_impossible_mentions_are_found(built: Lake, changed: str) -> None:
    """In more toots than the day has, or in more, or fewer, than there are mentions."""
    plant(built, built.layout.daily("term_mentions", DAY), changed)
    found = mentions_are_possible(built, "term_mentions", [DAY])
    assert not found.passed
    assert "mastodon: " in found.summary


def test_a_daily_table_behind_its_toots_is_left_out_not_failed(built: Lake) -> None:
    """It is due to be built anew."""
    land(built, record(uri="d", status_id="4"), name="later")
    build_toots(built, HOUR)
    for found in (
        toots_sum_to_the_day(built, "app_usage", [DAY]),
        mentions_are_possible(built, "term_mentions", [DAY]),
    ):
        assert (found.passed, found.compared, found.unsettled) == (True, 0, 1)
