"""`server_coverage` as Dagster's asset, and the schedule that asks the servers once a day."""

from datetime import UTC, date, datetime
from functools import partial

import dagster as dg

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partitions import DAY_KEY, days, single_run
from mastodon_pipeline.usage.tables import columns
from mastodon_pipeline.usage.tables.coverage import (
    TABLE,
    build_server_coverage,
    coverage_is_plausible,
)
from mastodon_pipeline.usage.tables.hourly import toots_per_server_per_hour
from mastodon_pipeline.usage.tables.lineage import LINEAGE
from mastodon_pipeline.usage.tables.materialising import (
    DAILY_FRESHNESS,
    OWNERS,
    RETRY,
    TABLE_KINDS,
    asked_days,
    build,
    check_result,
    shown_sql,
)
from mastodon_pipeline.usage.tables.server_activity import ServerReport, ask_servers

CHECK = "coverage_is_plausible"


@dg.asset(
    name=TABLE,
    partitions_def=days,
    backfill_policy=single_run,
    deps=[toots_per_server_per_hour, "mastodon_servers"],
    check_specs=[
        dg.AssetCheckSpec(
            CHECK,
            asset=TABLE,
            description=(
                "No more toots are counted of a server than it reports statuses, and its newest"
                " week's share is not below half of what it used to be."
            ),
        )
    ],
    group_name="usage",
    owners=OWNERS,
    kinds={*TABLE_KINDS, "mastodon"},
    retry_policy=RETRY,
    freshness_policy=DAILY_FRESHNESS,
    metadata={
        "dagster/column_schema": columns.SERVER_COVERAGE,
        "dagster/column_lineage": LINEAGE[TABLE],
        "sql": shown_sql(f"usage/tables/{TABLE}"),
    },
)
def server_coverage(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """Toots counted of each configured server, beside the statuses that it reports of itself.

    Asked once on each UTC day (`/api/v1/instance/activity`): eleven weeks, each the six days that
    Mastodon sums, and the hours as they stood then. What a server reports are its own accounts'
    public and unlisted statuses with replies to others and boosts, and those deleted since. What
    is counted are the public top-level toots among them. So the share is well below 1 where all is
    well; compare it with the same server's other weeks. `hours_heard` tells which part of a week
    was listened to. A server that refuses, or has its figures switched off, is a row with the
    reason. Servers cannot be asked in the past: other days than today stay as they were written.
    """
    today = datetime.now(UTC).date()

    def ask() -> list[ServerReport]:
        settings = load_settings()
        try:
            servers = settings.servers()
        except SettingsError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        context.log.info(f"asking {len(servers)} servers for their activity")
        reports = ask_servers(servers, settings, today)
        for silent in (report for report in reports if report.reason):
            context.log.info(f"{silent.base_url} gives no figures: {silent.reason}")
        return reports

    with lake.open() as opened:
        asked = asked_days(context)
        build(context, opened, asked, partial(build_server_coverage, today=today, ask=ask), DAY_KEY)
        found = coverage_is_plausible(opened, TABLE, asked)
    result = check_result(CHECK, found, dg.AssetCheckSeverity.WARN)
    return dg.MaterializeResult(check_results=[result])


refresh_server_coverage = dg.define_asset_job(
    "refresh_server_coverage",
    [server_coverage],
    description="Asks the servers what they report of themselves, and compares.",
    executor_def=dg.in_process_executor,
)


@dg.schedule(
    job=refresh_server_coverage,
    cron_schedule="25 * * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def server_coverage_schedule(
    context: dg.ScheduleEvaluationContext,
) -> dg.RunRequest | dg.SkipReason:
    """Asks the servers once on each UTC day, in the first hour in which the pipeline runs."""
    today: date = context.scheduled_execution_time.astimezone(UTC).date()
    key = today.strftime(DAY_KEY)
    of_today = dg.RunsFilter(job_name=refresh_server_coverage.name, tags={"dagster/partition": key})
    if context.instance.get_run_records(of_today, limit=1):
        return dg.SkipReason(f"the servers have been asked on {key}")
    return dg.RunRequest(partition_key=key)
