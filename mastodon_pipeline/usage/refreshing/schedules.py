"""What runs by the clock."""

from datetime import UTC, timedelta

import dagster as dg

from mastodon_pipeline.usage.partition_keys import DAY_KEY, PARTITION
from mastodon_pipeline.usage.refreshing.jobs import (
    refresh_daily_usage,
    refresh_server_coverage,
    usage_checks,
)


@dg.schedule(
    job=refresh_daily_usage,
    cron_schedule="20 0 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def daily_usage_schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
    """Build yesterday's daily tables at 00:20 UTC: most late toots have landed by then.

    Later ones still reopen their day through `landed_toots_sensor`.
    """
    yesterday = context.scheduled_execution_time.astimezone(UTC) - timedelta(days=1)
    return dg.RunRequest(partition_key=yesterday.strftime(DAY_KEY))


@dg.schedule(
    job=refresh_server_coverage,
    cron_schedule="25 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def server_coverage_schedule(
    context: dg.ScheduleEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Ask the servers once on each UTC day, in the first hour in which the pipeline runs."""
    key = context.scheduled_execution_time.astimezone(UTC).strftime(DAY_KEY)
    today = dg.RunsFilter(job_name=refresh_server_coverage.name, tags={PARTITION: key})
    if context.instance.get_run_records(today, limit=1):
        return dg.SkipReason(f"the servers have been asked on {key}")
    return dg.RunRequest(partition_key=key)


usage_checks_schedule = dg.ScheduleDefinition(
    name="usage_checks_schedule",
    job=usage_checks,
    cron_schedule="50 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Checks the lake as it is, every hour.",
)
