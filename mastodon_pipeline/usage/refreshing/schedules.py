"""What runs by the clock."""

from datetime import UTC, timedelta

import dagster as dg

from mastodon_pipeline.usage.partitions import DAY_KEY
from mastodon_pipeline.usage.refreshing.jobs import refresh_daily_usage


@dg.schedule(
    job=refresh_daily_usage,
    cron_schedule="20 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_usage_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Yesterday's daily tables, at 00:20 UTC: late toots have landed by then, mostly.

    Those that come later still reopen their day through `landed_toots_sensor`.
    """
    yesterday = context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.strftime(DAY_KEY))
