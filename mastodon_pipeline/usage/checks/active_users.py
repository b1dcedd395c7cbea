"""The check of `active_users`, against the toots of the day and the accounts of 28 days."""

from collections.abc import Iterable
from datetime import date, timedelta

from mastodon_pipeline.lake.files import fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import LISTED_FAULTS, Check, Finding, compare_each

DAY = timedelta(days=1)


def active_users_equal_recount(lake: Lake, table: str, days: Iterable[date]) -> Finding:
    """Compare each day's accounts with a recount of its toots by names, and its weeks with its day.

    A day that is behind its toots is skipped.
    """

    def find_faults(day: date) -> list[str] | None:
        toots = lake.parquet_files(lake.layout.toots_day(day))
        path = lake.layout.daily(table, day)
        if lake.built_from([path]).get(path) != fingerprint(toots):
            return None
        accounts = [lake.accounts(day - ago * DAY) for ago in range(28)]
        listed = {file.path for each in accounts for file in lake.list_files(each)}
        values = {
            "toots_files": [lake.empty_record, *(file.path for file in toots)],
            "salt": lake.salt,
            "accounts_files": [each for each in accounts if each in listed],
            "table_file": path,
            "day": day,
            "limit": LISTED_FAULTS,
        }
        lake.forgotten.prepare()
        rows = lake.connection.execute(query("usage/checks/active_users_recount"), values)
        return [
            f"{day} {server or '(no server)'}: {toots} toots of {accounts} accounts, {of_month} in"
            f" 28 days, recounted {toots_again} of {accounts_again}, {of_month_again}"
            for server, toots, toots_again, accounts, accounts_again, of_month, of_month_again in (
                rows.fetchall()
            )
        ]

    return compare_each(days, find_faults)


ACTIVE_USERS_EQUAL_RECOUNT: Check[date] = Check(
    "active_users_equal_recount",
    "The day's accounts equal a recount of its toots, its four weeks one of the accounts' files.",
    active_users_equal_recount,
)
