"""`run_history_maintenance`: the job, and the schedule that runs it."""

from datetime import UTC, datetime

import dagster as dg

from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.landing.assets import landed_toots_check, observe_landed_toots
from mastodon_pipeline.ledger.assets import ledger_check
from mastodon_pipeline.listening.assets import observe_mastodon_topic
from mastodon_pipeline.maintenance.jobs import forget_person_or_server
from mastodon_pipeline.maintenance.run_history import (
    purge_naming_runs,
    purge_superseded_runs,
)
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.refreshing.jobs import (
    refresh_daily_usage,
    refresh_hourly_usage,
    usage_checks,
)


@dg.op(
    description=(
        "Deletes runs past RUN_HISTORY_DAYS that later runs have superseded, with their logs."
        " What the catalog shows stays. Of forget_person_or_server, whose config names"
        " somebody, all runs go after a day. Killing it is harmless."
    ),
)
def purge_run_history(context: dg.OpExecutionContext) -> None:
    """Purge once; show how many runs were deleted and how many old ones stay, and the bytes."""
    with readable_failures():
        days = load_settings().run_history_days
    now = datetime.now(UTC)
    naming = purge_naming_runs(context.instance, [forget_person_or_server.name], now)
    purge = purge_superseded_runs(
        context.instance,
        PURGED_JOBS,
        context.repository_def.asset_graph.asset_check_keys,
        days=days,
        now=now,
        log=context.log.info,
    )
    context.add_output_metadata(
        {
            "runs deleted": purge.deleted + naming,
            "old runs kept": purge.retained,
            "bytes removed": purge.bytes,
        }
    )


@dg.job(
    executor_def=dg.in_process_executor,
    description="Deletes the records of old runs that later ones have superseded.",
)
def run_history_maintenance() -> None:
    """One op: the purge."""
    purge_run_history()


PURGED_JOBS = (
    refresh_hourly_usage.name,
    refresh_daily_usage.name,
    usage_checks.name,
    ledger_check.name,
    landed_toots_check.name,
    observe_landed_toots.name,
    observe_mastodon_topic.name,
    run_history_maintenance.name,
)
"""Jobs that run often. Not the listeners' jobs: the supervisor reads their last runs."""

run_history_maintenance_schedule = dg.ScheduleDefinition(
    name="run_history_maintenance_schedule",
    job=run_history_maintenance,
    cron_schedule="40 */6 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every six hours, up to 500 of the superseded runs.",
)
