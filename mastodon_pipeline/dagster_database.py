"""Where Dagster keeps its history: in SQLite files in its home, or in a PostgreSQL database."""

import os
import re
from urllib.parse import urlsplit

from mastodon_pipeline.paths import OWN_FILE
from mastodon_pipeline.setting_files import read_variables

POSTGRES_VARIABLE = "DAGSTER_POSTGRES_URL"
"""Names the database, `postgresql://user:password@host:port/database`; unset: SQLite."""
_POSTGRES = re.compile(r"^postgres(ql)?://")
_DRIVER = "postgresql+psycopg2://"
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
"""libpq's options, in seconds."""


def postgres_url() -> str | None:
    """Return the database's address, from the environment or `.env`; None for SQLite.

    Raises SettingsError if `.env` cannot be read.
    """
    url = os.environ.get(POSTGRES_VARIABLE) or read_variables(OWN_FILE).get(POSTGRES_VARIABLE)
    return with_driver(url) if url else None


def with_driver(url: str) -> str:
    """Name the driver that is installed, and how long it waits for a silent server.

    SQLAlchemy's own choice of a driver may be another. Without the options, it waits for minutes to
    connect to a machine that is gone, and for hours on a connection to it.
    """
    if not _POSTGRES.match(url):
        return url
    address, _, query = url.partition("?")
    given = {option.partition("=")[0] for option in query.split("&")}
    patience = [f"{name}={value}" for name, value in _PATIENCE.items() if name not in given]
    return _POSTGRES.sub(_DRIVER, f"{address}?{'&'.join(filter(None, [query, *patience]))}")


def database_name(url: str) -> str:
    """Return what to call a database in messages: without user, password and options."""
    parts = urlsplit(url)
    return f"PostgreSQL at {parts.netloc.rpartition('@')[2]}{parts.path}"
