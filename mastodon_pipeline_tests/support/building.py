"""Builds tables of a lake, as runs do, and plants faults in them."""

from datetime import date, datetime

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES


def build_hours(lake: Lake, *hours: datetime) -> None:
    """Build the hourly tables of these hours (their starts, UTC)."""
    for hour in hours:
        for table in HOURLY_TABLES:
            table.build(lake, hour)


def build_day(lake: Lake, day: date) -> None:
    """Build the daily tables of a UTC day."""
    for table in DAILY_TABLES:
        table.build(lake, day)


def plant(lake: Lake, path: str, statement: str) -> None:
    """Replace a table's file by a changed copy that claims to be made from the same input.

    `statement` changes the table `planted`.
    """
    built_from = lake.built_from([path]).get(path, "")
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE planted AS FROM read_parquet('{path}',"
        " hive_partitioning := false)"
    )
    lake.connection.execute(statement)
    lake.connection.execute(
        "COPY planted TO $path (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": built_from},
    )
