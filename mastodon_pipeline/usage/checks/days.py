"""Checks of the daily tables, against the toots and the hours of the same day."""

from collections.abc import Callable, Iterable
from datetime import date

from mastodon_pipeline.lake.files import StoredFile, fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import Check, Finding, compare_each


def day_equals_its_hours(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Compare each day's row in `table` (`daily_usage`) with its `toots_per_server_per_hour`.

    A day is skipped while one of the two is behind `toots`, from which both are made.
    """

    def find_faults(day: date) -> list[str] | None:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        hours = lake.parquet_files(lake.layout.toots_per_server_day(day))
        if not (
            _is_current(lake, table, day, toots)
            and len(toots) == len(hours) > 0
            and _inputs(lake, toots) == _inputs(lake, hours)
        ):
            return None
        values = {
            "daily_file": lake.layout.daily(table, day),
            "usage_files": [file.path for file in hours],
            "day": day,
        }
        rows = lake.connection.execute(query("usage/checks/day_against_hours"), values).fetchall()
        return [
            f"{day}: {toot_count} toots on {servers} servers, but its hours have"
            f" {toots_in_hours} on {servers_in_hours}"
            for _, toot_count, toots_in_hours, servers, servers_in_hours in rows
        ]

    return compare_each(days, find_faults)


def toots_sum_to_the_day(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Compare the sum of a daily table's rows with the toots of the day, each counted once."""
    return _against_toots(
        lake,
        "usage/checks/toots_against_day",
        table,
        days,
        lambda toots, counted: f"{toots} toots in {table}, but the day has {counted}",
    )


def mentions_are_possible(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Find terms in more toots than the day has, or in more toots than they are mentioned."""
    return _against_toots(
        lake,
        "usage/checks/impossible_mentions",
        table,
        days,
        lambda term, toots, mentions, counted: (
            f"{term}: {mentions} mentions in {toots} toots, and the day has {counted}"
        ),
    )


def _against_toots(
    lake: Lake, query_name: str, table: str, days: Iterable[date], describe: Callable[..., str]
) -> Finding:
    """Skip a day whose table is behind `toots`: it is due to be built again."""

    def find_faults(day: date) -> list[str] | None:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        if not _is_current(lake, table, day, toots):
            return None
        values = {
            "daily_file": lake.layout.daily(table, day),
            "toots_files": [lake.empty_record, *(file.path for file in toots)],
            "day": day,
        }
        rows = lake.connection.execute(query(query_name), values).fetchall()
        return [f"{day}: {describe(*row)}" for row in rows]

    return compare_each(days, find_faults)


def _is_current(lake: Lake, table: str, day: date, toots: list[StoredFile]) -> bool:
    path = lake.layout.daily(table, day)
    return lake.built_from([path]).get(path) == fingerprint(toots)


def _inputs(lake: Lake, files: list[StoredFile]) -> list[str]:
    return sorted(lake.built_from(file.path for file in files).values())


DAY_EQUALS_ITS_HOURS: Check[date] = Check(
    "day_equals_its_hours",
    "The day's toots and servers equal those of toots_per_server_per_hour.",
    day_equals_its_hours,
)
TOOTS_SUM_TO_THE_DAY: Check[date] = Check(
    "toots_sum_to_the_day",
    "The rows add up to the day's toots, each counted once.",
    toots_sum_to_the_day,
)
MENTIONS_ARE_POSSIBLE: Check[date] = Check(
    "mentions_are_possible",
    "No term is in more toots than the day has, or in more toots than it is mentioned.",
    mentions_are_possible,
)
