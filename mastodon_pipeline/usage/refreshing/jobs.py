"""The runs that keep the tables current.

In-process: a run of the default executor starts a process a step, which costs 2 s and twice the
memory, for queries that take milliseconds.
"""

import dagster as dg

from mastodon_pipeline.usage.asset_checks import LAKE_CHECKS
from mastodon_pipeline.usage.tables.coverage import SERVER_COVERAGE
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES

_LAKE_CHECKS = dg.AssetSelection.checks(*LAKE_CHECKS)
_HOURLY_CHECKS = dg.AssetSelection.checks(
    *(
        dg.AssetCheckKey(dg.AssetKey(table.name), check.name)
        for table in HOURLY_TABLES
        for check in table.checks
    )
)

refresh_hourly_usage = dg.define_asset_job(
    "refresh_hourly_usage",
    # With the tables' own checks: the ledger's, on `toots` too, waits for the sink and needs Kafka.
    dg.AssetSelection.assets(*(table.name for table in HOURLY_TABLES)).without_checks()
    | _HOURLY_CHECKS,
    description="Builds the hourly tables of a range of hours.",
    executor_def=dg.in_process_executor,
)
refresh_daily_usage = dg.define_asset_job(
    "refresh_daily_usage",
    (
        dg.AssetSelection.assets(*(table.name for table in DAILY_TABLES))
        | dg.AssetSelection.groups("charts")
    )
    - _LAKE_CHECKS,
    description="Builds the daily tables and charts of a range of days.",
    executor_def=dg.in_process_executor,
)
refresh_server_coverage = dg.define_asset_job(
    "refresh_server_coverage",
    dg.AssetSelection.assets(SERVER_COVERAGE.name),
    description="Asks the servers what they report of themselves, and compares.",
    executor_def=dg.in_process_executor,
)
usage_checks = dg.define_asset_job(
    "usage_checks",
    _LAKE_CHECKS,
    description="Checks the lake as it is: is it current, and has every toot an hour?",
    executor_def=dg.in_process_executor,
)
