"""`toots_per_server_per_hour` and `daily_usage`: what is counted, ties, and empty days."""

from datetime import timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.building import first_rows
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES, DAILY_USAGE, build_daily
from mastodon_pipeline.usage.tables.hourly import (
    HOURLY_TABLES,
    TOOTS,
    build_toots,
    build_toots_per_server,
)
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    delete,
    in_order,
    land,
    record,
    rows,
)


def toot(number: int, **fields: object) -> Record:
    """A toot with this number, in its uri and id."""
    return record(uri=f"https://one.example/{number}", status_id=str(number), **fields)


def build_hour(lake: Lake) -> list[Record]:
    """Build the hour's counts from what has landed, and return them."""
    build_hours(lake, HOUR)
    return rows(lake, lake.layout.toots_per_server(HOUR))


def test_hour_is_counted_by_home_server(lake: Lake) -> None:
    """Toots, accounts, bots, replies, languages and observers, as their columns are described."""
    two = {"server": "two.example", "base_url": "https://two.example"}
    land(
        lake,
        *in_order(
            toot(1),
            toot(2, reply=True, language_primary="de"),
            toot(3, username="robot", bot=True, language_primary=""),
            toot(4, username="robot", bot=True),
            toot(1, base_url="https://two.example"),
            toot(5, **two),
        ),
    )
    assert build_hour(lake) == [
        {
            "hour": HOUR,
            "server": "one.example",
            "toots": 4,
            "users": 2,
            "bots": 1,
            "replies": 1,
            "languages": 2,
            "seen_by": 2,
        },
        {
            "hour": HOUR,
            "server": "two.example",
            "toots": 1,
            "users": 1,
            "bots": 0,
            "replies": 0,
            "languages": 1,
            "seen_by": 1,
        },
    ]


def test_deleted_toot_still_counts(lake: Lake) -> None:
    """It was published; otherwise the counts of past hours would shrink."""
    land(lake, *in_order(toot(1), toot(2), delete()))
    assert [row["toots"] for row in build_hour(lake)] == [2]


def test_counting_an_hour_whose_toots_are_not_built_names_the_command(lake: Lake) -> None:
    """Zeros would be wrong."""
    with pytest.raises(TableError, match="--select toots,toots_per_server_per_hour --partition"):
        build_toots_per_server(lake, HOUR)


def test_day_is_one_row_over_its_hours(lake: Lake) -> None:
    """Accounts and servers are counted once, however many hours they posted in."""
    later = HOUR + timedelta(hours=3)
    land(
        lake,
        toot(1),
        toot(2, created_at=later),
        toot(3, created_at=later, username="robot", bot=True),
        toot(4, created_at=later, server="two.example"),
    )
    build_toots(lake, HOUR)
    build_toots(lake, later)
    assert rows(lake, build_daily(lake, DAY, DAILY_USAGE).path) == [
        {
            "day": DAY,
            "toots": 4,
            "users": 3,
            "servers": 2,
            "most_frequent_non_bot": "ada@one.example",
            "most_frequent_bot": "robot@one.example",
            "most_frequent_server": "one.example",
        }
    ]


def test_alphabetically_first_of_equally_frequent_accounts_is_named(lake: Lake) -> None:
    """So that the same toots give the same row."""
    land(
        lake,
        toot(1, username="zoe", server="b.example"),
        toot(2, username="bob", server="c.example"),
        toot(3, username="bob", server="a.example"),
    )
    build_toots(lake, HOUR)
    (day,) = rows(lake, build_daily(lake, DAY, DAILY_USAGE).path)
    assert day["most_frequent_non_bot"] == "bob@a.example"
    assert day["most_frequent_bot"] is None
    assert day["most_frequent_server"] == "a.example"


def test_day_without_toots_is_a_row_of_zeros(lake: Lake) -> None:
    """The schedule runs every day, whether anybody posted or not."""
    (day,) = rows(lake, build_daily(lake, DAY, DAILY_USAGE).path)
    assert (day["toots"], day["users"], day["servers"]) == (0, 0, 0)
    assert day["most_frequent_server"] is None


def test_building_all_tables_again_writes_the_same_bytes(lake: Lake) -> None:
    lake.connection.execute("SET threads = 2")
    land(lake, *(toot(n, username=f"user{n % 7}", server=f"{n % 5}.example") for n in range(99)))

    def build() -> list[bytes]:
        built = (
            *(table.build(lake, HOUR) for table in HOURLY_TABLES),
            *(table.build(lake, DAY) for table in DAILY_TABLES),
        )
        return [Path(partition.path).read_bytes() for partition in built]

    assert build() == build()


def test_first_rows_hold_nothing_that_a_delete_could_not_reach(lake: Lake) -> None:
    """At most ten; Dagster's log, which shows them, outlives the toot."""
    land(lake, *(toot(n, app="a|b", tag_names=["cats"]) for n in range(12)))
    preview = list(first_rows(lake, TOOTS, build_toots(lake, HOUR).path))
    assert len(preview) == 10
    assert preview[0]["app"] == "a|b"
    assert preview[0].keys().isdisjoint({"uri", "status_id", "url", "username", "acct"})
    texts = {str(value) for row in preview for value in row.values()}
    assert texts.isdisjoint({"hello", "ada", "https://one.example/1", "['cats']"})
