"""All tables, in the order in which they are made from one another."""

from typing import Any

from mastodon_pipeline.usage.tables.coverage import SERVER_COVERAGE
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline.usage.tables.table import Table

TABLES: tuple[Table[Any], ...] = (*HOURLY_TABLES, *DAILY_TABLES, SERVER_COVERAGE)
