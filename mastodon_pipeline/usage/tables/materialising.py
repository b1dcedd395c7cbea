"""What the stage's assets share: which partitions a run asks for, and what it tells of them."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, TypeVar

import dagster as dg

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.usage.checks import tables as checks
from mastodon_pipeline.usage.partitions import HOUR_KEY
from mastodon_pipeline.usage.tables import building as tables

Partition = TypeVar("Partition", datetime, date)
OWNERS = ["team:mastodon-pipeline"]
TABLE_KINDS = {"duckdb", "parquet"}
# Another run may replace a file while this one reads it: the query then fails, and works again.
RETRY = dg.RetryPolicy(max_retries=2, delay=1)

HOURLY_FRESHNESS = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=1), fail_window=timedelta(hours=3)
)
"""Of tables that follow every toot; a quiet hour is possible, three are no accident."""
DAILY_FRESHNESS = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(hours=25), fail_window=timedelta(hours=49)
)
"""Of tables that a schedule builds once a day at the least."""


def shown_sql(name: str) -> dg.MarkdownMetadataValue:
    """A query of this stage, as the UI shows it."""
    return dg.MetadataValue.md(f"```sql\n{query(name)}```")


def build(
    context: dg.AssetExecutionContext,
    lake: Lake,
    partitions: Iterable[Partition],
    build: Callable[[Lake, Partition], tables.BuiltTable],
    key_format: str,
    unshown: tuple[str, ...] = (),
) -> None:
    """Builds partitions one by one, and tells of each: rows, path, input, its first rows.

    `key_format` turns a partition into its key; columns `unshown` stay out of the first rows.
    """
    for partition in partitions:
        try:
            built = build(lake, partition)
        except TableError as error:
            raise dg.Failure(str(error), allow_retries=False) from None
        if built.kept:
            context.log.info(f"{built.path} is kept: the landed files it was made from are gone")
        metadata: dict[str, Any] = {
            "dagster/row_count": built.rows,
            "path": built.path,
            "files read": built.input_files,
            "first rows": dg.MetadataValue.md(tables.first_rows(lake, built.path, unshown)),
        }
        context.add_asset_metadata(metadata, partition_key=partition.strftime(key_format))


def asked_hours(context: dg.AssetExecutionContext) -> list[datetime]:
    """The hours that the run asks for, by their start, UTC."""
    return [datetime.strptime(key, HOUR_KEY).replace(tzinfo=UTC) for key in context.partition_keys]


def asked_days(context: dg.AssetExecutionContext) -> list[date]:
    """The UTC days that the run asks for."""
    return [date.fromisoformat(key) for key in context.partition_keys]


def check_result(
    name: str,
    finding: checks.Finding,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    """What a check found, as the UI shows it."""
    return dg.AssetCheckResult(
        check_name=name,
        passed=finding.passed,
        severity=severity,
        description=finding.summary,
        metadata={
            "partitions compared": finding.compared,
            "left out": finding.unsettled,
            "faults": len(finding.faults),
        },
    )
