"""The charts as Dagster's assets: each draws one table's day."""

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import TYPE_CHECKING

import dagster as dg

from mastodon_pipeline.usage import charts, daily_charts
from mastodon_pipeline.usage.assets import toots_per_server_per_hour
from mastodon_pipeline.usage.daily_assets import (
    app_usage,
    hour_of_day_usage,
    language_density,
    language_usage,
)
from mastodon_pipeline.usage.drawing import as_markdown
from mastodon_pipeline.usage.lake import Lake, LakeSource
from mastodon_pipeline.usage.materialising import OWNERS, RETRY, asked_days, shown_sql
from mastodon_pipeline.usage.partitions import DAY_KEY, days, single_run
from mastodon_pipeline.usage.tables import UsageError

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "app_chart",
    "hour_of_day_chart",
    "language_chart",
    "language_density_chart",
    "servers_by_hour_chart",
    "toots_per_server_chart",
]


def _chart_asset(
    name: str,
    table: dg.AssetsDefinition,
    rows: Callable[[Lake, date], "pd.DataFrame"],
    draw: Callable[["pd.DataFrame", date], bytes],
    description: str,
    sql: str = "daily_chart",
) -> dg.AssetsDefinition:
    """The asset `<name>_chart`, drawn from what `rows` reads by the query `sql` of `table`."""

    @dg.asset(
        name=f"{name}_chart",
        description=description,
        partitions_def=days,
        backfill_policy=single_run,
        deps=[table],
        group_name="charts",
        owners=OWNERS,
        kinds={"duckdb", "seaborn"},
        retry_policy=RETRY,
        metadata={"sql": shown_sql(sql)},
    )
    def chart(context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]) -> None:
        with lake_source.open() as lake:
            for day in asked_days(context):
                try:
                    read = rows(lake, day)
                except UsageError as error:
                    raise dg.Failure(str(error), allow_retries=False) from None
                png = draw(read, day)
                path = lake.layout.chart(name, day)
                lake.write_bytes(path, png)
                context.add_asset_metadata(
                    {
                        "chart": dg.MetadataValue.md(as_markdown(png, f"Toots on {day}")),
                        "path": path,
                        "toots drawn": int(read["toots"].sum()),
                    },
                    partition_key=day.strftime(DAY_KEY),
                )

    return chart


toots_per_server_chart = _chart_asset(
    "toots_per_server",
    toots_per_server_per_hour,
    charts.toots_per_server_rows,
    charts.draw_toots_per_server,
    "A day's toots per hour (UTC) for its busiest home servers, drawn from the hourly table.",
    "toots_per_server_chart",
)

servers_by_hour_chart = _chart_asset(
    "servers_by_hour",
    toots_per_server_per_hour,
    charts.servers_by_hour_rows,
    charts.draw_servers_by_hour,
    "A day's heat map: the busiest home servers by hours (UTC), drawn from the hourly table.",
    "toots_per_server_chart",
)

hour_of_day_chart = _chart_asset(
    "hour_of_day",
    hour_of_day_usage,
    partial(daily_charts.daily_rows, table="hour_of_day_usage"),
    daily_charts.draw_hours_of_day,
    "A day's toots by hour of the day (UTC).",
)

app_chart = _chart_asset(
    "app",
    app_usage,
    partial(daily_charts.daily_rows, table="app_usage"),
    daily_charts.draw_apps,
    "A day's most used applications, of the toots whose home server tells theirs.",
)

language_chart = _chart_asset(
    "language",
    language_usage,
    partial(daily_charts.daily_rows, table="language_usage"),
    daily_charts.draw_languages,
    "A day's most used languages; the others, and the unknown, each as one.",
)

language_density_chart = _chart_asset(
    "language_density",
    language_density,
    partial(daily_charts.daily_rows, table="language_density"),
    daily_charts.draw_language_density,
    "How long a day's toots are in its most used languages: a box plot of their characters.",
)
