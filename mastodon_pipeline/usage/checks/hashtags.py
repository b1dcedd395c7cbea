"""The check of `hashtag_usage`, against the toots of the same hour."""

from collections.abc import Iterable
from datetime import datetime

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks.check import LISTED_FAULTS, Check, Finding, compare_each


def hashtags_equal_recount(lake: Lake, table: str, hours: Iterable[datetime]) -> Finding:
    """Compare each hour's hashtags with a recount of its toots.

    An hour whose toots were built again since is skipped: it is due to be counted again. Faults
    name no hashtag, since a run's log outlives the toots.
    """

    def find_faults(hour: datetime) -> list[str] | None:
        toots, counted = lake.layout.toots(hour), lake.layout.hourly(table, hour)
        built_from = lake.built_from([toots, counted])
        if built_from.get(toots) != built_from.get(counted):
            return None
        values = {
            "toots_files": [lake.empty_record, toots],
            "table_file": counted,
            "hour_start": hour,
            "limit": LISTED_FAULTS,
        }
        rows = lake.connection.execute(query("usage/checks/hashtag_recount"), values).fetchall()
        return [
            f"{hour:%Y-%m-%d %H:%M}: a hashtag with {toots} toots of {users} users, recounted"
            f" {toots_recounted} of {users_recounted}"
            for toots, toots_recounted, users, users_recounted in rows
        ]

    return compare_each(hours, find_faults)


HASHTAGS_EQUAL_RECOUNT: Check[datetime] = Check(
    "hashtags_equal_recount",
    "Each hashtag's counts equal a recount of the hour's toots.",
    hashtags_equal_recount,
)
