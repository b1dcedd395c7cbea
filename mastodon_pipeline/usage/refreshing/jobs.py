"""The runs that keep the tables current.

In-process: a run of the default executor starts a process a step, which costs 2 s and twice the
memory, for queries that take milliseconds.
"""

import dagster as dg

from mastodon_pipeline.usage.checks import lake_assets as lake_check_assets
from mastodon_pipeline.usage.tables import hourly as assets
from mastodon_pipeline.usage.tables.building import DAILY_TABLES

# They look at two days, or at all that landed: too much for every refresh.
_OF_THE_LAKE = dg.AssetSelection.checks(
    lake_check_assets.tables_are_current,
    lake_check_assets.daily_tables_are_current,
    lake_check_assets.every_toot_has_an_hour,
)

refresh_hourly_usage = dg.define_asset_job(
    "refresh_hourly_usage",
    dg.AssetSelection.assets(assets.toots, assets.toots_per_server_per_hour) - _OF_THE_LAKE,
    description="Builds the hourly tables of a range of hours.",
    executor_def=dg.in_process_executor,
)
refresh_daily_usage = dg.define_asset_job(
    "refresh_daily_usage",
    (dg.AssetSelection.assets(*DAILY_TABLES) | dg.AssetSelection.groups("charts")) - _OF_THE_LAKE,
    description="Builds the daily tables and charts of a range of days.",
    executor_def=dg.in_process_executor,
)
