"""The charts as Dagster's assets: each draws one table's day."""

from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING

import dagster as dg

from mastodon_pipeline.usage import charts
from mastodon_pipeline.usage.assets import toots_per_server_per_hour
from mastodon_pipeline.usage.lake import Lake, LakeSource
from mastodon_pipeline.usage.materialising import OWNERS, RETRY, asked_days, shown_sql
from mastodon_pipeline.usage.partitions import DAY_KEY, days, single_run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["toots_per_server_chart"]


def _chart_asset(
    name: str,
    table: dg.AssetsDefinition,
    rows: Callable[[Lake, date], "pd.DataFrame"],
    draw: Callable[["pd.DataFrame", date], bytes],
    description: str,
    sql: str = "",
) -> dg.AssetsDefinition:
    """The asset `<name>_chart`, drawn from what `rows` reads (by the query `sql`) of `table`."""

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
        metadata={"sql": shown_sql(sql or f"{name}_chart")},
    )
    def chart(context: dg.AssetExecutionContext, lake_source: dg.ResourceParam[LakeSource]) -> None:
        with lake_source.open() as lake:
            for day in asked_days(context):
                read = rows(lake, day)
                png = draw(read, day)
                path = lake.layout.chart(name, day)
                lake.write_bytes(path, png)
                context.add_asset_metadata(
                    {
                        "chart": dg.MetadataValue.md(charts.as_markdown(png, f"Toots on {day}")),
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
)
