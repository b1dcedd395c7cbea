"""The usage tables: what is counted, and how ties and gaps are told."""

from datetime import timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_daily,
    build_toots,
    build_toots_per_server,
    first_rows,
)
from mastodon_pipeline.usage.tables.columns import DAILY_USAGE, TOOTS_PER_SERVER_PER_HOUR
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
    """A toot of its own."""
    return record(uri=f"https://one.example/{number}", status_id=str(number), **fields)


def build_hour(lake: Lake) -> list[Record]:
    """The hour's counts, built from what has landed."""
    build_toots(lake, HOUR)
    return rows(lake, build_toots_per_server(lake, HOUR).path)


def test_an_hour_is_counted_by_home_server(lake: Lake) -> None:
    """Toots, accounts, bots, replies, languages and observers, each as its column says."""
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


def test_a_deleted_toot_still_counts(lake: Lake) -> None:
    """It was published; else every past hour would shrink for ever."""
    land(lake, *in_order(toot(1), toot(2), delete()))
    assert [row["toots"] for row in build_hour(lake)] == [2]


def test_the_counts_carry_the_columns_that_the_ui_describes(lake: Lake) -> None:
    """Names and order."""
    land(lake, toot(1))
    assert list(build_hour(lake)[0]) == [c.name for c in TOOTS_PER_SERVER_PER_HOUR.columns]
    day = rows(lake, build_daily(lake, DAY, "daily_usage").path)
    assert list(day[0]) == [c.name for c in DAILY_USAGE.columns]


def test_counting_an_hour_whose_toots_were_never_built_says_what_to_do(lake: Lake) -> None:
    """Zeros would be a lie."""
    with pytest.raises(TableError, match="--select toots,toots_per_server_per_hour --partition"):
        build_toots_per_server(lake, HOUR)


def test_a_day_is_one_row_over_its_hours(lake: Lake) -> None:
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
    assert rows(lake, build_daily(lake, DAY, "daily_usage").path) == [
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


def test_of_equally_frequent_ones_the_alphabetically_first_is_named(lake: Lake) -> None:
    """So that the same toots give the same row."""
    land(
        lake,
        toot(1, username="zoe", server="b.example"),
        toot(2, username="bob", server="c.example"),
        toot(3, username="bob", server="a.example"),
    )
    build_toots(lake, HOUR)
    (day,) = rows(lake, build_daily(lake, DAY, "daily_usage").path)
    assert day["most_frequent_non_bot"] == "bob@a.example"
    assert day["most_frequent_bot"] is None
    assert day["most_frequent_server"] == "a.example"


def test_a_day_without_toots_is_a_row_of_zeros(lake: Lake) -> None:
    """The schedule runs every day, whether anybody posted or not."""
    (day,) = rows(lake, build_daily(lake, DAY, "daily_usage").path)
    assert (day["toots"], day["users"], day["servers"]) == (0, 0, 0)
    assert day["most_frequent_server"] is None


def test_building_all_again_writes_the_same_bytes(lake: Lake) -> None:
    """Doing it again changes nothing."""
    land(lake, *(toot(n, username=f"user{n % 7}", server=f"{n % 5}.example") for n in range(99)))

    def bytes_now() -> list[bytes]:
        built = (
            build_toots(lake, HOUR),
            build_toots_per_server(lake, HOUR),
            *(build_daily(lake, DAY, table) for table in DAILY_TABLES),
        )
        return [Path(table.path).read_bytes() for table in built]

    assert bytes_now() == bytes_now()


def test_first_rows_are_a_markdown_table_without_what_a_delete_could_not_reach(
    lake: Lake,
) -> None:
    """At most ten rows; the log that shows them outlives the toot."""
    land(lake, *(toot(n, app="a|b") for n in range(12)))
    shown = first_rows(lake, build_toots(lake, HOUR).path, without=("mastodon_text", "username"))
    lines = shown.splitlines()
    assert len(lines) == 12, "a head, a rule, ten rows"
    assert "hello" not in shown
    assert "ada" not in lines[2].split(" | ")[8]
    assert r"a\|b" in lines[2]
