"""Dagster's assets, made from the declarations of tables and charts: each builds, then checks."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import partial
from inspect import cleandoc
from typing import Any

import dagster as dg

from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.lake.copies import ByHour
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.usage.asset_checks import check_result
from mastodon_pipeline.usage.charts.chart import Chart, chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.charts.drawing import as_markdown
from mastodon_pipeline.usage.partitions import PARTITIONINGS, single_run
from mastodon_pipeline.usage.tables.building import first_rows
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.table import BuiltPartition, Column, Grain, Table

OWNERS = ["team:mastodon-pipeline"]
# Another run may replace a file while this one reads it: the query then fails, and works again.
RETRY = dg.RetryPolicy(max_retries=2, delay=1)
PRIORITY = "dagster/priority"
"""Orders the steps of a run: the tables as the catalog does, counts of toots first, then charts."""
CHART_CHECK = "chart_shows_its_table"
EARLIER_CHARTS = 2
"""Days before the requested ones whose charts are checked too: these were not drawn just now."""


def table_asset(table: Table[Any]) -> dg.AssetsDefinition:
    """Make the asset of a table."""
    partitioning = PARTITIONINGS[table.grain]

    @dg.asset(
        name=table.name,
        description=cleandoc(table.description),
        deps=table.sources,
        partitions_def=partitioning.definition,
        backfill_policy=single_run,
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=table.name, description=check.description)
            for check in table.checks
        ],
        group_name=table.group,
        owners=OWNERS,
        kinds={"duckdb", "parquet", *table.kinds},
        retry_policy=RETRY,
        op_tags={PRIORITY: f"{len(TABLES) - TABLES.index(table)}"},
        freshness_policy=partitioning.freshness,
        metadata={
            "dagster/column_schema": column_schema(table.columns),
            "dagster/column_lineage": column_lineage(table),
            "sql": sql_metadata(table.query),
        },
    )
    def build(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
        partitions = {key: partitioning.parse(key) for key in context.partition_keys}
        with (
            readable_failures(),
            lake.open() as opened,
            opened.landed.held(),
            opened.replaced.in_use(),
            opened.written.in_use(context.run.run_id),
        ):
            # For the builds alone: checks read the landed files themselves.
            with opened.copies.of_range(partial(_landed, opened, partitions.values())):
                for key, partition in partitions.items():
                    built = table.build(opened, partition)
                    for note in built.notes:
                        context.log.info(note)
                    metadata = build_metadata(opened, table, built)
                    context.add_asset_metadata(metadata, partition_key=key)
            results = [
                check_result(
                    check.name,
                    check.find_faults(opened, table.name, list(partitions.values())),
                    warn_only=check.warn_only,
                )
                for check in table.checks
            ]
        return dg.MaterializeResult(check_results=results)

    return build


def _landed(lake: Lake, partitions: Iterable[datetime | date]) -> ByHour:
    """List the landed files of these hours; of days none, which are made from `toots`."""
    lake.landed.refresh()
    return lake.landed.of_hours([hour for hour in partitions if isinstance(hour, datetime)])


def chart_asset(table: Table[Any], chart: Chart) -> dg.AssetsDefinition:
    """Make the asset `<name>_chart` of a table's chart."""
    name = f"{chart.name}_chart"
    partitioning = PARTITIONINGS[Grain.DAY]

    @dg.asset(
        name=name,
        description=chart.description,
        deps=[table.name],
        partitions_def=partitioning.definition,
        backfill_policy=single_run,
        check_specs=[
            dg.AssetCheckSpec(
                CHART_CHECK,
                asset=name,
                description="The picture shows the figures that its table has now.",
            )
        ],
        group_name="charts",
        owners=OWNERS,
        kinds={"duckdb", "seaborn"},
        retry_policy=RETRY,
        freshness_policy=partitioning.freshness,
        metadata={"sql": sql_metadata(chart.query)},
    )
    def draw(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
        days = {key: date.fromisoformat(key) for key in context.partition_keys}
        with readable_failures(), lake.open() as opened:
            for key, day in days.items():
                drawn = draw_chart(opened, chart, table.name, day)
                metadata = {
                    "chart": dg.MetadataValue.md(as_markdown(drawn.png, f"Toots on {day}")),
                    "path": drawn.path,
                    "toots drawn": drawn.toots,
                }
                context.add_asset_metadata(metadata, partition_key=key)
            checked = {
                day - timedelta(days_ago)
                for day in days.values()
                for days_ago in range(EARLIER_CHARTS + 1)
            }
            finding = chart_shows_its_table(
                opened, chart, table.name, sorted(checked), datetime.now(UTC)
            )
        return dg.MaterializeResult(check_results=[check_result(CHART_CHECK, finding)])

    return draw


def column_schema(columns: Iterable[Column]) -> dg.TableSchema:
    """Return the columns as Dagster shows them."""
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.type, column.description) for column in columns]
    )


def column_lineage(table: Table[Any]) -> dg.TableColumnLineage:
    """Return which columns of its first source each column is made from.

    See: https://docs.dagster.io/guides/build/assets/metadata-and-tags/column-level-lineage
    """
    source = dg.AssetKey(table.sources[0])
    return dg.TableColumnLineage(
        {
            column.name: [dg.TableColumnDep(source, name) for name in column.made_from]
            for column in table.columns
        }
    )


def sql_metadata(query_name: str) -> dg.MarkdownMetadataValue:
    """Return a query as the UI shows it."""
    return dg.MetadataValue.md(f"```sql\n{query(query_name)}```")


def build_metadata(lake: Lake, table: Table[Any], built: BuiltPartition) -> dict[str, Any]:
    """Describe a partition that was built: rows, path, input, its first rows.

    The rows are a table, not Markdown: strangers wrote what is in them.
    """
    rows = [
        dg.TableRecord({name: _cell(value) for name, value in row.items()})
        for row in first_rows(lake, table, built.path)
    ]
    schema = column_schema(column for column in table.columns if column.previewed)
    return {
        "dagster/row_count": built.rows,
        "path": built.path,
        "files read": built.input_files,
        "first rows": dg.MetadataValue.table(rows, schema),
    }


def _cell(value: object) -> str | int | float | bool | None:
    match value:
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}"
        case list():
            return ", ".join(map(str, value))
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


ASSETS: Mapping[str, dg.AssetsDefinition] = {
    asset.key.to_user_string(): asset
    for table in TABLES
    for asset in (
        table_asset(table),
        *(chart_asset(table, chart) for chart in table.charts),
    )
}
"""By name."""
