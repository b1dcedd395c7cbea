"""The usage tables as Dagster's assets: each finds its partitions, builds them, and checks them."""

from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import dagster as dg

from mastodon_pipeline.usage import charts, checks, columns, tables
from mastodon_pipeline.usage.lake import Lake, LakeSource
from mastodon_pipeline.usage.partitions import HOUR_KEY, days, hours, single_run
from mastodon_pipeline.usage.sql import query

__all__ = ["daily_usage", "toots", "toots_per_server_chart", "toots_per_server_per_hour"]

Partition = TypeVar("Partition", datetime, date)
OWNERS = ["team:mastodon-pipeline"]
TABLE_KINDS = {"duckdb", "parquet"}
# Another run may replace a file while this one reads it: the query then fails, and works again.
RETRY = dg.RetryPolicy(max_retries=2, delay=1)
UNSHOWN = (
    *("uri", "status_id", "url", "username", "acct"),
    *("mastodon_text", "tag_names", "event", "source", "visibility"),
)
"""Columns of `toots` that its preview leaves out: the event log would outlive a delete."""


@dg.asset(
    partitions_def=hours,
    backfill_policy=single_run,
    deps=["landed_toots"],
    check_specs=[
        dg.AssetCheckSpec(
            "no_duplicate_toots",
            asset="toots",
            description="Each toot stands once in its hour, and in neither neighbour.",
        )
    ],
    group_name="toots",
    owners=OWNERS,
    kinds=TABLE_KINDS,
    retry_policy=RETRY,
    metadata={
        "dagster/column_schema": columns.TOOTS,
        "sql": dg.MetadataValue.md(f"```sql\n{query('toots')}```"),
    },
)
def toots(
    context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """Every public top-level toot seen, once, by the hour in which it was posted (UTC).

    Made from the landed records of the hour: copies and other servers' tellings of the same toot
    are one row, the newest edit wins. Deleted toots stay, as they were published, without their
    text; authors who said noindex are counted, and their text is not kept. Not in it, since
    Mastodon's public feeds leave them out: replies to others, boosts, unlisted posts.
    """
    with lake_source.open() as lake:
        asked = _hours(context)
        _build(context, lake, asked, tables.build_toots, HOUR_KEY, UNSHOWN)
        found = checks.no_duplicate_toots(lake, asked)
    return dg.MaterializeResult(check_results=[_result("no_duplicate_toots", found)])


@dg.asset(
    partitions_def=hours,
    backfill_policy=single_run,
    deps=[toots],
    check_specs=[
        dg.AssetCheckSpec(
            "hour_equals_recount",
            asset="toots_per_server_per_hour",
            description="The hour's counts equal a recount straight from the landed Parquet.",
        )
    ],
    group_name="usage",
    owners=OWNERS,
    kinds=TABLE_KINDS,
    retry_policy=RETRY,
    metadata={
        "dagster/column_schema": columns.TOOTS_PER_SERVER_PER_HOUR,
        "sql": dg.MetadataValue.md(f"```sql\n{query('toots_per_server_per_hour')}```"),
    },
)
def toots_per_server_per_hour(
    context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """How many toots each home server's accounts posted in each hour (UTC), and who saw them.

    Public top-level toots that a configured server listed, also those deleted since. A server that
    is not listened to itself counts only with what its neighbours saw of it.
    """
    with lake_source.open() as lake:
        asked = _hours(context)
        _build(context, lake, asked, tables.build_toots_per_server, HOUR_KEY)
        found = checks.hours_equal_recount(lake, asked)
    return dg.MaterializeResult(check_results=[_result("hour_equals_recount", found)])


@dg.asset(
    partitions_def=days,
    backfill_policy=single_run,
    deps=[toots],
    check_specs=[
        dg.AssetCheckSpec(
            "day_equals_its_hours",
            asset="daily_usage",
            description="The day's toots and servers equal those of toots_per_server_per_hour.",
        )
    ],
    group_name="usage",
    owners=OWNERS,
    kinds=TABLE_KINDS,
    retry_policy=RETRY,
    metadata={
        "dagster/column_schema": columns.DAILY_USAGE,
        "sql": dg.MetadataValue.md(f"```sql\n{query('daily_usage')}```"),
    },
)
def daily_usage(
    context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]
) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
    """One row a UTC day: toots, users, servers, and who was most frequent.

    Public top-level toots that a configured server listed, also those deleted since. Accounts are
    told apart by name and home server; of equally frequent ones the alphabetically first is named.
    """
    with lake_source.open() as lake:
        asked = _days(context)
        _build(context, lake, asked, tables.build_daily_usage, days.fmt)
        found = checks.day_equals_its_hours(lake, asked)
    return dg.MaterializeResult(check_results=[_result("day_equals_its_hours", found)])


@dg.asset(
    partitions_def=days,
    backfill_policy=single_run,
    deps=[toots_per_server_per_hour],
    group_name="charts",
    owners=OWNERS,
    kinds={"duckdb", "seaborn"},
    retry_policy=RETRY,
    metadata={"sql": dg.MetadataValue.md(f"```sql\n{query('toots_per_server_chart')}```")},
)
def toots_per_server_chart(
    context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]
) -> None:
    """A day's toots per hour (UTC) for its busiest home servers, drawn from the hourly table."""
    with lake_source.open() as lake:
        for day in _days(context):
            rows = charts.toots_per_server_rows(lake, day)
            png = charts.draw_toots_per_server(rows, day)
            path = lake.layout.chart("toots_per_server", day)
            lake.write_bytes(path, png)
            context.add_asset_metadata(
                {
                    "chart": dg.MetadataValue.md(charts.as_markdown(png, f"Toots on {day}")),
                    "path": path,
                    "toots drawn": int(rows["toots"].sum()),
                },
                partition_key=day.strftime(days.fmt),
            )


def _build(
    context: dg.AssetExecutionContext,
    lake: Lake,
    partitions: Iterable[Partition],
    build: Callable[[Lake, Partition], tables.BuiltTable],
    key_format: str,
    unshown: tuple[str, ...] = (),
) -> None:
    for partition in partitions:
        try:
            built = build(lake, partition)
        except tables.UsageError as error:
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


def _hours(context: dg.AssetExecutionContext) -> list[datetime]:
    return [datetime.strptime(key, HOUR_KEY).replace(tzinfo=UTC) for key in context.partition_keys]


def _days(context: dg.AssetExecutionContext) -> list[date]:
    return [date.fromisoformat(key) for key in context.partition_keys]


def _result(name: str, finding: checks.Finding) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=finding.passed,
        description=finding.summary,
        metadata={
            "partitions compared": finding.compared,
            "left out": finding.unsettled,
            "faults": len(finding.faults),
        },
    )
