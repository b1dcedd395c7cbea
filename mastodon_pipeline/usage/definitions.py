"""What the usage stage offers to Dagster."""

import dagster as dg

from mastodon_pipeline.usage import assets, jobs, schedules, sensors
from mastodon_pipeline.usage.lake import LakeSource

definitions = dg.Definitions(
    assets=[
        assets.toots,
        assets.toots_per_server_per_hour,
        assets.daily_usage,
        assets.toots_per_server_chart,
    ],
    jobs=[jobs.refresh_hourly_usage, jobs.refresh_daily_usage],
    schedules=[schedules.daily_usage_schedule],
    sensors=[sensors.landed_toots_sensor],
    resources={"lake_source": LakeSource()},
    # For assets materialised by hand as well, see jobs.py; it becomes the whole project's default.
    executor=dg.in_process_executor,
)
