"""How the tables are cut: UTC hours and UTC days, from `FIRST_DAY` on.

The partition that is still running counts in (`end_offset=1`), so the tables are current.
"""

import warnings

import dagster as dg

from mastodon_pipeline.settings import load_settings

HOUR_KEY = "%Y-%m-%d-%H:%M"
"""A partition key of the hourly tables: `2026-11-24-15:00`, the start of the hour."""
DAY_KEY = "%Y-%m-%d"

hours = dg.HourlyPartitionsDefinition(
    start_date=f"{load_settings().first_day:%Y-%m-%d}-00:00", fmt=HOUR_KEY, end_offset=1
)
days = dg.DailyPartitionsDefinition(
    start_date=f"{load_settings().first_day:%Y-%m-%d}", fmt=DAY_KEY, end_offset=1
)

# One run builds any contiguous range: measured, 168 hours take 3 s in one run and about 12
# minutes in 168. Dagster calls the parameter beta and says so on every load of the code.
single_run = dg.BackfillPolicy.single_run()
warnings.filterwarnings("ignore", "Parameter `backfill_policy`", category=dg.BetaWarning)
