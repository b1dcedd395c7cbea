"""The checks of the lake as it is, as Dagster's: every hour, and whenever somebody asks."""

from datetime import UTC, datetime

import dagster as dg

from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.checks.check import LISTED_FAULTS, Finding
from mastodon_pipeline.usage.checks.lake import days_are_current, hours_are_current, outside_hours
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES


def check_result(name: str, finding: Finding, *, warn_only: bool = False) -> dg.AssetCheckResult:
    """Return a finding as the UI shows it."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=finding.passed,
        severity=dg.AssetCheckSeverity.WARN if warn_only else dg.AssetCheckSeverity.ERROR,
        description=finding.summary,
        metadata={
            f"{finding.unit} compared": finding.compared,
            f"{finding.unit} skipped": finding.skipped,
            "faults": len(finding.faults),
        },
    )


@dg.asset_check(
    asset="toots_per_server_per_hour",
    description="Each of the last 48 hours is made from the files that have landed for it.",
)
def tables_are_current(lake: LakeResource) -> dg.AssetCheckResult:
    """Fail if an hour is behind for ten minutes: nothing rebuilds it, or its runs fail."""
    with lake.open() as opened:
        finding = hours_are_current(opened, datetime.now(UTC))
    return check_result("tables_are_current", finding)


@dg.asset_check(
    asset="daily_usage",
    description="The daily tables of today and yesterday are made from the toots as they are.",
)
def daily_tables_are_current(lake: LakeResource) -> dg.AssetCheckResult:
    """Fail if a daily table is behind for half an hour."""
    names = [table.name for table in DAILY_TABLES]
    with lake.open() as opened:
        finding = days_are_current(opened, names, datetime.now(UTC))
    return check_result("daily_tables_are_current", finding)


@dg.asset_check(
    asset="toots",
    description=(
        "Every landed file can be read, and every record has a plausible post time that is not in"
        " the future. Also reports what is older than the tables' first day, and so not counted."
    ),
)
def every_toot_has_an_hour(lake: LakeResource) -> dg.AssetCheckResult:
    """Warn: such toots stay in the lake, and no table counts them."""
    with lake.open() as opened:
        files = outside_hours(opened, datetime.now(UTC), load_settings().first_day)
    return dg.AssetCheckResult(
        passed=files.passed,
        severity=dg.AssetCheckSeverity.WARN,
        description=files.summary,
        metadata={
            "first day of the tables": str(files.first_day),
            "records before it": files.before,
            "records in future hours": files.future,
            "records without a plausible post time": files.implausible,
            "unreadable files": [file.path for file in files.unreadable[:LISTED_FAULTS]],
        },
    )


LAKE_CHECKS = (tables_are_current, daily_tables_are_current, every_toot_has_an_hour)
"""They list two days, or all that landed outside them: too much for every refresh."""
