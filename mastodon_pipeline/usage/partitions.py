"""How the tables are partitioned: UTC hours and UTC days, from `FIRST_DAY` on.

The current hour and day are partitions too (`end_offset=1`), so the tables are current.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.tables.table import Grain

HOUR_KEY = "%Y-%m-%d-%H:%M"
"""A partition key of the hourly tables: `2026-11-24-15:00`, the start of the hour."""
DAY_KEY = "%Y-%m-%d"

# Dagster's documented run tags for a range of partitions in one run, and for a single one.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"

hours = dg.HourlyPartitionsDefinition(
    start_date=f"{load_settings().first_day:%Y-%m-%d}-00:00", fmt=HOUR_KEY, end_offset=1
)
days = dg.DailyPartitionsDefinition(
    start_date=f"{load_settings().first_day:%Y-%m-%d}", fmt=DAY_KEY, end_offset=1
)

# One run builds any contiguous range: measured from the shell, 168 hours of a landed file each take
# 46 s (27 s of CPU) in one run, two thirds of them Dagster's event log in SQLite, which gets four
# events an hour; in 168 runs about 12 minutes. Dagster calls the parameter beta and warns on every
# load of the code.
single_run = dg.BackfillPolicy.single_run()
warnings.filterwarnings("ignore", "Parameter `backfill_policy`", category=dg.BetaWarning)


@dataclass(frozen=True)
class Partitioning:
    """The partitions of a grain, and how old their newest data may be."""

    definition: dg.TimeWindowPartitionsDefinition
    key_format: str
    freshness: dg.FreshnessPolicy

    def parse(self, key: str) -> datetime | date:
        """Return the partition with this key: the start of an hour (UTC), or a day."""
        start = datetime.strptime(key, self.key_format).replace(tzinfo=UTC)
        return start if self.key_format == HOUR_KEY else start.date()


PARTITIONINGS: Mapping[Grain, Partitioning] = {
    # Hourly tables follow every toot; a quiet hour is possible, three are no accident.
    Grain.HOUR: Partitioning(
        hours,
        HOUR_KEY,
        dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=1), fail_window=timedelta(hours=3)
        ),
    ),
    # A schedule builds daily tables at least once a day.
    Grain.DAY: Partitioning(
        days,
        DAY_KEY,
        dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=25), fail_window=timedelta(hours=49)
        ),
    ),
}
