"""`active_users`: accounts of a day, a week and four weeks, in whatever order they are built."""

import random
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.checks.active_users import active_users_equal_recount
from mastodon_pipeline.usage.tables.active_users import (
    ACTIVE_USERS,
    ALL,
    accounts_until,
    build_active_users,
)
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.building import plant
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, Record, land, record, rows

pytestmark = pytest.mark.thorough

ONE_DAY = timedelta(days=1)
KINDS = ("people", "bots")
WINDOWS = {"": 1, "_7_days": 7, "_28_days": 28}


def posted(number: int, ago: int, **fields: object) -> Record:
    """A toot of some days ago."""
    at = HOUR - ago * ONE_DAY
    return record(
        uri=f"u{number}",
        status_id=str(number),
        created_at=at,
        ingested_at=at,
        **fields,
    )


def build(lake: Lake, *days: date) -> None:
    """Build these days, as their toots now are."""
    for day in days:
        build_toots(lake, HOUR + (day - DAY))
        build_active_users(lake, day)
        assert active_users_equal_recount(lake, ACTIVE_USERS.name, [day]).passed


def table(lake: Lake, day: date = DAY) -> dict[str, Record]:
    """A day's rows by server."""
    built = rows(lake, ACTIVE_USERS.path(lake.layout, day))
    assert all(row.pop("day") == day for row in built)
    return {row.pop("server"): row for row in built}


def figures(row: Record) -> list[int]:
    """People and then bots of the day, the week and the four weeks."""
    return [row[f"{kind}{window}"] for kind in KINDS for window in WINDOWS]


def test_accounts_of_the_day_the_week_and_the_four_weeks_are_counted(lake: Lake) -> None:
    """By home server and in all; each account once."""
    land(
        lake,
        posted(1, 0),
        posted(2, 0),
        posted(3, 0, server="two.example"),
        posted(4, 6, username="ben"),
        posted(5, 7, username="eve"),
        posted(6, 27, username="robot", bot=True),
        posted(7, 28, username="zoe"),
    )
    build(lake, *(DAY - ago * ONE_DAY for ago in (28, 27, 7, 6, 0)))
    assert {server: figures(row) for server, row in table(lake).items()} == {
        ALL: [2, 3, 4, 0, 0, 1],
        "one.example": [1, 2, 3, 0, 0, 1],
        "two.example": [1, 1, 1, 0, 0, 0],
    }
    assert {server: row["toots"] for server, row in table(lake).items()} == {
        ALL: 3,
        "one.example": 2,
        "two.example": 1,
    }


def test_account_is_a_bot_if_any_of_its_toots_says_so(lake: Lake) -> None:
    land(lake, posted(1, 0, bot=False), posted(2, 3, bot=True))
    build(lake, DAY - 3 * ONE_DAY, DAY)
    assert figures(table(lake)[ALL]) == [1, 0, 0, 0, 1, 1]


def test_day_that_is_built_late_changes_the_days_after_it(lake: Lake) -> None:
    """A replay of last week, or a toot that waited on its server."""
    land(lake, posted(1, 0))
    build(lake, DAY)
    assert figures(table(lake)[ALL])[:3] == [1, 1, 1]
    land(lake, posted(2, 8, username="ben"), posted(3, 3, username="eve"))
    build(lake, DAY - 8 * ONE_DAY, DAY - 3 * ONE_DAY)
    assert figures(table(lake)[ALL])[:3] == [1, 2, 3]
    assert figures(table(lake, DAY - 3 * ONE_DAY)[ALL])[:3] == [1, 2, 2]
    assert table(lake)[ALL]["toots"] == 1


def test_days_after_a_run_that_was_killed_are_counted_again(lake: Lake) -> None:
    """It had written the accounts, and nothing else: the next build of the day finds out."""
    land(lake, posted(1, 0))
    build(lake, DAY)
    earlier = DAY - 2 * ONE_DAY
    land(lake, posted(2, 2, username="ben"))
    build(lake, earlier)
    first = figures(table(lake)[ALL])
    land(lake, posted(3, 2, username="eve"), name="late")
    build_toots(lake, HOUR - 2 * ONE_DAY)
    path = Path(ACTIVE_USERS.path(lake.layout, DAY))
    content = path.read_bytes()
    build_active_users(lake, earlier)
    path.write_bytes(content)  # as if the run had been killed before it
    assert figures(table(lake)[ALL]) == first
    build(lake, earlier)
    assert figures(table(lake)[ALL])[:3] == [1, 3, 3]


def test_accounts_of_tables_older_than_this_one_are_made(lake: Lake) -> None:
    """The toots of the weeks before are there, the files of their accounts are not."""
    land(lake, posted(1, 0), posted(2, 5, username="ben"), posted(3, 20, username="eve"))
    for ago in (20, 5, 0):
        build_toots(lake, HOUR - ago * ONE_DAY)
    build(lake, DAY)
    assert figures(table(lake)[ALL])[:3] == [1, 2, 3]
    assert len(accounts_until(lake, DAY)) == 3


def test_another_toot_of_a_known_account_changes_no_byte_of_the_accounts(lake: Lake) -> None:
    """So the days after it need not be counted again."""
    lake.connection.execute("SET threads = 2")
    land(lake, posted(1, 0))
    build(lake, DAY)
    before = accounts_until(lake, DAY)
    land(lake, posted(2, 0), name="late")
    build(lake, DAY)
    assert [file.etag for file in accounts_until(lake, DAY)] == [file.etag for file in before]
    assert table(lake)[ALL]["toots"] == 2


def test_day_without_toots_has_the_accounts_of_its_weeks(lake: Lake) -> None:
    land(lake, posted(1, 2))
    build(lake, DAY - 2 * ONE_DAY)
    build_active_users(lake, DAY)
    assert figures(table(lake)[ALL]) == [0, 1, 1, 0, 0, 0]
    assert table(lake)[ALL]["toots"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_figures_equal_a_recount_in_plain_python_in_any_order(lake: Lake, seed: int) -> None:
    """Toots on days of six weeks, which land and are built in a random order. Shows G13.

    A late day has up to 28 later ones counted again, so not each day has toots.
    """
    choice = random.Random(seed)
    days_ago = [0, 6, 7, 27, 28, *choice.sample(range(42), 9)]
    toots = [
        posted(
            number,
            choice.choice(days_ago),
            username=f"user{choice.randrange(12)}",
            server=f"{choice.choice(['one', 'two'])}.example",
            bot=choice.random() < 0.1,
        )
        for number in range(120)
    ]
    choice.shuffle(toots)
    for number, piece in enumerate((toots[:70], toots[70:])):
        land(lake, *piece, name=str(number))
        days = sorted({toot["created_at"].date() for toot in piece})
        choice.shuffle(days)
        build(lake, *days)
    for day in sorted({toot["created_at"].date() for toot in toots}):
        assert figures(table(lake, day)[ALL]) == recounted(toots, day)


def recounted(toots: list[Record], day: date) -> list[int]:
    """Count people and bots of all servers, from the records."""
    counts: dict[tuple[str, str], int] = {}
    for window, days in WINDOWS.items():
        bots: dict[tuple[str, str], bool] = {}
        for toot in toots:
            posted_at: datetime = toot["created_at"]
            if timedelta() <= day - posted_at.date() < days * ONE_DAY:
                account = toot["server"], toot["username"]
                bots[account] = bots.get(account, False) or toot["bot"]
        for kind, wanted in zip(KINDS, (False, True), strict=True):
            counts[kind, window] = sum(bot is wanted for bot in bots.values())
    return [counts[kind, window] for kind in KINDS for window in WINDOWS]


def test_check_finds_a_wrong_figure(lake: Lake) -> None:
    land(lake, posted(1, 0))
    build(lake, DAY)
    path = Path(ACTIVE_USERS.path(lake.layout, DAY))
    right = path.read_bytes()
    for column in ("toots", "people", "bots", "people_28_days", "people_7_days"):
        wrong = f"UPDATE planted SET {column} = {column} + 1 WHERE server <> '{ALL}'"
        plant(lake, str(path), wrong)
        assert not active_users_equal_recount(lake, ACTIVE_USERS.name, [DAY]).passed, column
        path.write_bytes(right)
    assert active_users_equal_recount(lake, ACTIVE_USERS.name, [DAY]).passed
