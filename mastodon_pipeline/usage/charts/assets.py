"""The charts as Dagster's assets: each draws one table's day."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.usage.charts import daily as daily_charts
from mastodon_pipeline.usage.charts import hourly as charts
from mastodon_pipeline.usage.charts.checks import Chart, chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.charts.drawing import as_markdown
from mastodon_pipeline.usage.partitions import DAY_KEY, days, single_run
from mastodon_pipeline.usage.tables.daily import (
    app_usage,
    hour_of_day_usage,
    language_density,
    language_usage,
)
from mastodon_pipeline.usage.tables.hourly import toots_per_server_per_hour
from mastodon_pipeline.usage.tables.materialising import (
    DAILY_FRESHNESS,
    OWNERS,
    RETRY,
    asked_days,
    check_result,
    shown_sql,
)

if TYPE_CHECKING:
    import pandas as pd


CHECK = "chart_shows_its_table"
LOOK_BACK = 2
"""Days before the asked ones whose charts are checked too: these were not drawn just now."""


def _hours_of(lake: Lake, day: date) -> list[StoredFile]:
    return lake.parquet_files(lake.layout.toots_per_server_day(day))


def _daily(name: str, table: str, draw: Callable[["pd.DataFrame", date], bytes]) -> Chart:
    """The chart of a daily table."""
    return Chart(
        name,
        lambda lake, day: lake.parquet_files(lake.layout.daily(table, day)),
        partial(daily_charts.daily_rows, table=table),
        draw,
    )


def _chart_asset(
    chart: Chart,
    table: dg.AssetsDefinition,
    description: str,
    sql: str = "usage/charts/day_of_table",
) -> dg.AssetsDefinition:
    """The asset `<name>_chart`, drawn from what the query `sql` reads of `table`."""
    name = f"{chart.name}_chart"

    @dg.asset(
        name=name,
        description=description,
        partitions_def=days,
        backfill_policy=single_run,
        deps=[table],
        check_specs=[
            dg.AssetCheckSpec(
                CHECK,
                asset=name,
                description="The picture shows the figures that its table has now.",
            )
        ],
        group_name="charts",
        owners=OWNERS,
        kinds={"duckdb", "seaborn"},
        retry_policy=RETRY,
        freshness_policy=DAILY_FRESHNESS,
        metadata={"sql": shown_sql(sql)},
    )
    def draw(context: dg.AssetExecutionContext, lake: LakeResource) -> dg.MaterializeResult:  # type: ignore[type-arg]  # Dagster knows it bare alone
        asked = asked_days(context)
        with lake.open() as opened:
            for day in asked:
                try:
                    path, png, toots = draw_chart(opened, chart, day)
                except TableError as error:
                    raise dg.Failure(str(error), allow_retries=False) from None
                context.add_asset_metadata(
                    {
                        "chart": dg.MetadataValue.md(as_markdown(png, f"Toots on {day}")),
                        "path": path,
                        "toots drawn": toots,
                    },
                    partition_key=day.strftime(DAY_KEY),
                )
            before = {day - timedelta(back) for day in asked for back in range(LOOK_BACK + 1)}
            found = chart_shows_its_table(opened, chart, sorted(before), datetime.now(UTC))
        return dg.MaterializeResult(check_results=[check_result(CHECK, found)])

    return draw


toots_per_server_chart = _chart_asset(
    Chart(
        "toots_per_server", _hours_of, charts.toots_per_server_rows, charts.draw_toots_per_server
    ),
    toots_per_server_per_hour,
    "A day's toots per hour (UTC) for its busiest home servers, drawn from the hourly table.",
    "usage/charts/toots_per_server",
)

servers_by_hour_chart = _chart_asset(
    Chart("servers_by_hour", _hours_of, charts.servers_by_hour_rows, charts.draw_servers_by_hour),
    toots_per_server_per_hour,
    "A day's heat map: the busiest home servers by hours (UTC), drawn from the hourly table.",
    "usage/charts/toots_per_server",
)

hour_of_day_chart = _chart_asset(
    _daily("hour_of_day", "hour_of_day_usage", daily_charts.draw_hours_of_day),
    hour_of_day_usage,
    "A day's toots by hour of the day (UTC).",
)

app_chart = _chart_asset(
    _daily("app", "app_usage", daily_charts.draw_apps),
    app_usage,
    "A day's most used applications, of the toots whose home server tells theirs.",
)

language_chart = _chart_asset(
    _daily("language", "language_usage", daily_charts.draw_languages),
    language_usage,
    "A day's most used languages; the others, and the unknown, each as one.",
)

language_density_chart = _chart_asset(
    _daily("language_density", "language_density", daily_charts.draw_language_density),
    language_density,
    "How long a day's toots are in its most used languages: a box plot of their characters.",
)
