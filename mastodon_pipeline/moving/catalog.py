"""Copies the Iceberg catalog from its SQLite file into a PostgreSQL database.

What can be lost here: a commit that the sink makes to the file once it was copied. So the file is
locked while it is copied, and refuses every commit from then on. What the sink could not commit
stays in its control topic, and is committed by the sink that has the new address.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import sqlalchemy as db
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from mastodon_pipeline.dagster_database import database_name
from mastodon_pipeline.errors import CatalogUnavailable, MoveError
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.landing.catalog import BUSY_TIMEOUT_SECONDS, catalog_address
from mastodon_pipeline.settings import Settings


def copy_catalog(settings: Settings, file: Path) -> int:
    """Copy the catalog in a file into that of the settings; return the number of its tables.

    Again after it was interrupted, it goes on.

    Raises:
        MoveError: there is no such file, or the database has another catalog.
        CatalogUnavailable: the database does not answer.
        SettingsError: as `catalog_address` does.
    """
    from pyiceberg.catalog.sql import IcebergNamespaceProperties, IcebergTables, SqlCatalogBaseTable

    address = catalog_address(settings)
    name = database_name(address.render_as_string(hide_password=False))
    if not file.exists():
        raise MoveError(f"there is no catalog {file}")
    uri = f"{file.absolute().as_uri()}?mode=rw"
    with closing(
        sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None)
    ) as source:
        source.row_factory = sqlite3.Row
        try:
            source.execute("BEGIN IMMEDIATE")  # The sink waits.
            tables = _rows(source, IcebergTables.__tablename__)
            namespaces = _rows(source, IcebergNamespaceProperties.__tablename__)
        except sqlite3.OperationalError as error:
            raise MoveError(f"{file} is no catalog that can be read: {error}") from None
        try:
            engine = db.create_engine(address, poolclass=NullPool)
            with engine.begin() as target:
                SqlCatalogBaseTable.metadata.create_all(target)
                for model, rows in (
                    (IcebergTables, tables),
                    (IcebergNamespaceProperties, namespaces),
                ):
                    _insert(target, model.__table__, rows, name)
        except SQLAlchemyError as error:
            reason = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise CatalogUnavailable(f"{name}: {reason}") from None
        for operation in ("insert", "update"):
            source.execute(query(f"moving/refuse_{operation}"))
        source.execute("COMMIT")
    return len(tables)


def _rows(source: sqlite3.Connection, table: str) -> list[dict[str, Any]]:
    return [dict(row) for row in source.execute(f"SELECT * FROM {table}")]


def _insert(target: db.Connection, table: Any, rows: list[dict[str, Any]], name: str) -> None:
    """Insert the rows into an empty table; raises MoveError if it has others."""
    there = [dict(row) for row in target.execute(db.select(table)).mappings()]
    if not there and rows:
        target.execute(table.insert(), rows)
    elif there and not all({**row} in [{c: t.get(c) for c in row} for t in there] for row in rows):
        raise MoveError(
            f"{name} already has a catalog with other entries in {table.name}: nothing was copied"
        )
