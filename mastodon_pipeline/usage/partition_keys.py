"""How partitions and the runs that build them are named; for those who do without Dagster."""

HOUR_KEY = "%Y-%m-%d-%H:%M"
"""A partition key of the hourly tables: `2026-11-24-15:00`, the start of the hour."""
DAY_KEY = "%Y-%m-%d"

# Dagster's documented run tags for a range of partitions in one run, and for a single one.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"
