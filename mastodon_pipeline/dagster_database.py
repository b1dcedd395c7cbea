"""Where Dagster keeps its history: in SQLite files in its home, or in a PostgreSQL database."""

import os
import re

from mastodon_pipeline.paths import OWN_FILE
from mastodon_pipeline.setting_files import read_variables

POSTGRES_VARIABLE = "DAGSTER_POSTGRES_URL"
"""Names the database, `postgresql://user:password@host:port/database`; unset: SQLite."""


def postgres_url() -> str | None:
    """Return the database's address, from the environment or `.env`; None for SQLite.

    Raises SettingsError if `.env` cannot be read.
    """
    url = os.environ.get(POSTGRES_VARIABLE) or read_variables(OWN_FILE).get(POSTGRES_VARIABLE)
    return with_driver(url) if url else None


def with_driver(url: str) -> str:
    """Name the driver that is installed; SQLAlchemy's own choice may be another."""
    return re.sub(r"^postgres(ql)?://", "postgresql+psycopg2://", url)
