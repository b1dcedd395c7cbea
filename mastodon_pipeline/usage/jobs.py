"""The runs that keep the tables current.

In-process: a run of the default executor starts a process a step, which costs 2 s and twice the
memory, for queries that take milliseconds.
"""

import dagster as dg

from mastodon_pipeline.usage import assets
from mastodon_pipeline.usage.tables import DAILY_TABLES

__all__ = ["refresh_daily_usage", "refresh_hourly_usage"]

refresh_hourly_usage = dg.define_asset_job(
    "refresh_hourly_usage",
    [assets.toots, assets.toots_per_server_per_hour],
    description="Builds the hourly tables of a range of hours.",
    executor_def=dg.in_process_executor,
)
refresh_daily_usage = dg.define_asset_job(
    "refresh_daily_usage",
    dg.AssetSelection.assets(*DAILY_TABLES) | dg.AssetSelection.groups("charts"),
    description="Builds the daily tables and charts of a range of days.",
    executor_def=dg.in_process_executor,
)
