"""`lake_maintenance`: the job, and the schedule that runs it."""

from typing import Any

import dagster as dg
from pydantic import Field

from mastodon_pipeline.asset_keys import LANDED_ASSET
from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.maintenance.forgetting import forget, parse_name, require_nothing_left
from mastodon_pipeline.maintenance.maintaining import maintain
from mastodon_pipeline.maintenance.report import Report
from mastodon_pipeline.settings import load_settings


class MaintenanceConfig(dg.Config):
    """How to run; what is maintained comes from the settings."""

    dry_run: bool = Field(default=False, description="Only report what would be done")


@dg.op(
    description=(
        "Removes landed files of verified days of arrival past RAW_RETENTION_DAYS from the Iceberg"
        " table and the bucket, expires snapshots, removes orphans, and makes nameless what is"
        " older than PERSON_RETENTION_DAYS. Only one runs at a time; killing it is harmless."
    ),
    tags={"kind": "iceberg"},
)
def maintain_lake(context: dg.OpExecutionContext, config: MaintenanceConfig) -> None:
    """Maintain the lake; show what was done, or would be, in files and bytes."""
    with readable_failures():
        report = maintain(load_settings(), dry_run=config.dry_run, log=context.log.info)
    for line in report.lines():
        context.log.info(line)
    for fault in report.faults:
        context.log.warning(fault)
    metadata = _metadata(report)
    context.add_output_metadata(metadata)
    if not report.dry_run:
        context.log_event(dg.AssetObservation(LANDED_ASSET, metadata=metadata))


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Removes from the lake what is verified and no longer needed. With dry_run in the run"
        " config it only reports what it would do."
    ),
)
def lake_maintenance() -> None:
    """One op: the maintenance."""
    maintain_lake()


class ForgetConfig(dg.Config):
    """Whom to forget."""

    name: str = Field(description="@user@server, or a server's domain")
    dry_run: bool = Field(default=False, description="Only report what would be done")


@dg.op(
    description=(
        "Makes everything in the lake nameless that names a person or a server: landed files, the"
        " Iceberg table, toots, the tables of their days. What is counted stays. Killing it is"
        " harmless; launched again, it continues."
    ),
    tags={"kind": "iceberg"},
)
def forget_name(context: dg.OpExecutionContext, config: ForgetConfig) -> None:
    """Forget a person or a server; see `mastodon-pipeline forget --help`."""
    with readable_failures():
        settings = load_settings()
        report = forget(
            settings, parse_name(config.name), dry_run=config.dry_run, log=context.log.info
        )
        # Without the name, which Dagster would keep.
        for line in report.lines(settings)[1:]:
            context.log.info(line)
        context.add_output_metadata(
            {
                "dry run": report.dry_run,
                "toots": report.toots,
                "landed files": report.landed_files,
                "hours": len(report.hours),
            }
        )
        require_nothing_left(report)


@dg.job(
    executor_def=dg.in_process_executor,
    description=(
        "Takes a person or a server out of the lake. The name is in the run's config, which"
        " run_history_maintenance deletes after a day; the command mastodon-pipeline forget leaves"
        " none."
    ),
)
def forget_person_or_server() -> None:
    """One op, which forgets."""
    forget_name()


lake_maintenance_schedule = dg.ScheduleDefinition(
    name="lake_maintenance_schedule",
    job=lake_maintenance,
    cron_schedule="50 2-22/4 * * *",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description=(
        "Every four hours, since the sink makes 360 snapshots an hour, and its commits get slower"
        " with each."
    ),
)


def _metadata(report: Report) -> dict[str, Any]:
    return {
        "dry run": report.dry_run,
        "snapshots expired": report.snapshots_expired,
        "snapshots left": report.snapshots_left,
        "folders verified": report.folders_verified,
        "folders removed": report.folders_removed,
        "folders waiting": report.folders_waiting,
        "folders left in place": len(report.folders_left),
        "files dropped from the table": report.dropped.files,
        "files removed": report.removed.files,
        "bytes removed": report.removed.bytes,
        "hours made nameless": report.nameless_hours,
        "landed files made nameless": report.nameless_files,
        "metadata orphans": report.metadata_orphans.files,
        "metadata orphans, bytes": report.metadata_orphans.bytes,
        "data orphans": report.data_orphans.files,
        "data orphans, bytes": report.data_orphans.bytes,
        "report": dg.MetadataValue.md("\n".join(f"- {line}" for line in report.lines())),
    }
