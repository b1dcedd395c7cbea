"""What the usage stage offers to Dagster."""

import dagster as dg

from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.usage.charts import assets as chart_assets
from mastodon_pipeline.usage.checks import lake_assets as lake_check_assets
from mastodon_pipeline.usage.refreshing import jobs, schedules, sensor
from mastodon_pipeline.usage.tables import coverage_asset as coverage_assets
from mastodon_pipeline.usage.tables import daily as daily_assets
from mastodon_pipeline.usage.tables import hourly as assets

definitions = dg.Definitions(
    assets=dg.load_assets_from_modules([assets, daily_assets, coverage_assets, chart_assets]),
    jobs=[
        jobs.refresh_hourly_usage,
        jobs.refresh_daily_usage,
        coverage_assets.refresh_server_coverage,
        lake_check_assets.usage_checks,
    ],
    schedules=[
        schedules.daily_usage_schedule,
        coverage_assets.server_coverage_schedule,
        lake_check_assets.usage_checks_schedule,
    ],
    asset_checks=dg.load_asset_checks_from_modules([lake_check_assets]),
    sensors=[sensor.landed_toots_sensor],
    resources={"lake": LAKE},
    # For assets materialised by hand as well, see jobs.py; it becomes the whole project's default.
    executor=dg.in_process_executor,
)
