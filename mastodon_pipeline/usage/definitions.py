"""What the usage stage offers to Dagster."""

import dagster as dg

from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.usage.asset_checks import LAKE_CHECKS
from mastodon_pipeline.usage.assets import ASSETS
from mastodon_pipeline.usage.refreshing import jobs, schedules, sensor

definitions = dg.Definitions(
    assets=[*ASSETS.values()],
    jobs=[
        jobs.refresh_hourly_usage,
        jobs.refresh_daily_usage,
        jobs.refresh_server_coverage,
        jobs.usage_checks,
    ],
    schedules=[
        schedules.daily_usage_schedule,
        schedules.server_coverage_schedule,
        schedules.usage_checks_schedule,
    ],
    asset_checks=[*LAKE_CHECKS],
    sensors=[sensor.landed_toots_sensor],
    resources={"lake": LAKE},
    # For assets materialized by hand as well, see jobs.py; it becomes the whole project's default.
    executor=dg.in_process_executor,
)
