"""The databases that the pipeline uses, for `doctor`: Dagster's history, and the Iceberg catalog.

Each function returns one line, or raises Unhealthy with the fix, or Waiting.
"""

from pathlib import Path
from urllib.parse import unquote

import sqlalchemy as db
from sqlalchemy.exc import ProgrammingError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from mastodon_pipeline.cli.machine_checks import Unhealthy, Waiting
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, database_name, postgres_url
from mastodon_pipeline.landing.catalog import CATALOG, catalog_address
from mastodon_pipeline.paths import data_directory
from mastodon_pipeline.settings import Settings


def check_history(settings: Settings) -> str:
    """Say where Dagster's history is, and check that a database answers."""
    url = postgres_url()
    if url is None:
        return f"SQLite files in {data_directory() / 'dagster'}"
    name = database_name(url)
    try:
        with db.create_engine(url, poolclass=NullPool).connect() as connection:
            runs = connection.scalar(db.text("SELECT count(*) FROM runs"))
    except ProgrammingError:
        raise Waiting(
            f"{name} answers, and is empty yet: Dagster makes its tables when it starts"
        ) from None
    except SQLAlchemyError as error:
        raise Unhealthy(
            f"{name}: {_reason(error)}: start it, or correct {POSTGRES_VARIABLE}"
        ) from None
    return f"{name} answers, with {runs:,} runs"


def check_catalog(settings: Settings) -> str:
    """Say where the Iceberg catalog is, and check that it answers and has the sink's table."""
    if settings.sink != "iceberg":
        return "there is none: this sink writes plain files"
    address = catalog_address(settings)
    if address.get_backend_name() == "sqlite":
        name = unquote((address.database or "").removeprefix("file:"))
        if not Path(name).exists():
            raise Waiting(f"no {name} yet: the sink makes it")
    else:
        name = database_name(address.render_as_string())
    namespace, _, table = settings.iceberg_table.rpartition(".")
    statement = db.text(
        "SELECT count(*) FROM iceberg_tables WHERE catalog_name = :catalog"
        " AND table_namespace = :namespace AND table_name = :table"
    ).bindparams(catalog=CATALOG, namespace=namespace, table=table)
    try:
        with db.create_engine(address, poolclass=NullPool).connect() as connection:
            there = connection.scalar(statement)
    except ProgrammingError:
        there = 0
    except SQLAlchemyError as error:
        raise Unhealthy(
            f"{name}: {_reason(error)}: start it, or correct LAKE_CATALOG_URI"
        ) from None
    if not there:
        raise Waiting(f"{name} has no {settings.iceberg_table} yet: the sink makes it")
    return f"{name} has {settings.iceberg_table}"


def _reason(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]
