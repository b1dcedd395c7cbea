"""The checks of the lake as it lies, as Dagster's: every hour, and whenever somebody asks."""

from datetime import UTC, datetime

import dagster as dg

from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.checks.lake import (
    days_are_current,
    hours_are_current,
    outside_hours,
)
from mastodon_pipeline.usage.tables.daily import daily_usage
from mastodon_pipeline.usage.tables.hourly import toots, toots_per_server_per_hour
from mastodon_pipeline.usage.tables.materialising import check_result


@dg.asset_check(
    asset=toots_per_server_per_hour,
    description="Each of the last 48 hours is made from the files that have landed for it.",
)
def tables_are_current(lake: LakeResource) -> dg.AssetCheckResult:
    """Fails where an hour is behind for ten minutes: nothing rebuilds it, or its runs fail."""
    with lake.open() as opened:
        found = hours_are_current(opened, datetime.now(UTC))
    return check_result("tables_are_current", found)


@dg.asset_check(
    asset=daily_usage,
    description="The daily tables of today and yesterday are made from the toots as they stand.",
)
def daily_tables_are_current(lake: LakeResource) -> dg.AssetCheckResult:
    """Fails where a daily table is behind for half an hour."""
    with lake.open() as opened:
        found = days_are_current(opened, datetime.now(UTC))
    return check_result("daily_tables_are_current", found)


@dg.asset_check(
    asset=toots,
    description=(
        "Nothing has landed for hours to come, nor for no hour at all. Tells, too, what is older"
        " than FIRST_DAY and therefore not counted."
    ),
)
def every_toot_has_an_hour(lake: LakeResource) -> dg.AssetCheckResult:
    """Warns: such toots are kept, and counted nowhere."""
    with lake.open() as opened:
        found = outside_hours(opened, datetime.now(UTC), load_settings().first_day)
    return dg.AssetCheckResult(
        passed=found.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=found.summary,
        metadata={
            "files before FIRST_DAY": found.before,
            "records before FIRST_DAY": found.before_records,
            "files of hours to come": found.ahead,
            "records of hours to come": found.ahead_records,
            "files in no hour's folder": found.nowhere,
        },
    )


usage_checks = dg.define_asset_job(
    "usage_checks",
    dg.AssetSelection.checks(tables_are_current, daily_tables_are_current, every_toot_has_an_hour),
    description="Checks the lake as it lies: is it current, and has every toot an hour.",
    executor_def=dg.in_process_executor,
)

usage_checks_schedule = dg.ScheduleDefinition(
    name="usage_checks_schedule",
    job=usage_checks,
    cron_schedule="50 * * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Checks the lake as it lies, every hour.",
)
