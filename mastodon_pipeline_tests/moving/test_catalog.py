"""The Iceberg catalog, copied from its SQLite file into the database of a real server."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as db

from mastodon_pipeline.dagster_database import with_driver
from mastodon_pipeline.errors import CatalogUnavailable, MoveError
from mastodon_pipeline.moving.catalog import copy_catalog
from mastodon_pipeline.settings import load_settings

pytestmark = pytest.mark.thorough
# As Iceberg's JDBC catalog makes them.
TABLES = """
CREATE TABLE iceberg_tables (
  catalog_name VARCHAR(255) NOT NULL, table_namespace VARCHAR(255) NOT NULL,
  table_name VARCHAR(255) NOT NULL, metadata_location VARCHAR(1000),
  previous_metadata_location VARCHAR(1000), iceberg_type VARCHAR(5),
  PRIMARY KEY (catalog_name, table_namespace, table_name));
CREATE TABLE iceberg_namespace_properties (
  catalog_name VARCHAR(255) NOT NULL, namespace VARCHAR(255) NOT NULL,
  property_key VARCHAR(255), property_value VARCHAR(1000),
  PRIMARY KEY (catalog_name, namespace, property_key));
INSERT INTO iceberg_tables
  VALUES ('lake', 'mastodon', 'toots_raw', 's3://b/2', 's3://b/1', 'TABLE');
INSERT INTO iceberg_namespace_properties VALUES ('lake', 'mastodon', 'exists', 'true');
"""
COMMIT = "UPDATE iceberg_tables SET metadata_location = ? WHERE table_name = 'toots_raw'"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "catalog of a lake.db"
    with closing(sqlite3.connect(path)) as catalog:
        catalog.executescript(TABLES)
    return path


def locations(database: str) -> list[tuple[str, str]]:
    engine = db.create_engine(with_driver(database))
    with engine.connect() as catalog:
        rows = catalog.execute(
            db.text("SELECT metadata_location, iceberg_type FROM iceberg_tables")
        ).all()
        assert catalog.scalar(db.text("SELECT count(*) FROM iceberg_namespace_properties")) == 1
    engine.dispose()
    return [tuple(row) for row in rows]


def test_copied_file_refuses_commits_and_the_database_has_the_last(
    file: Path, database: str
) -> None:
    settings = load_settings(lake_catalog_uri=database)
    assert copy_catalog(settings, file) == 1
    assert locations(database) == [("s3://b/2", "TABLE")]
    with closing(sqlite3.connect(file)) as catalog:
        with pytest.raises(sqlite3.DatabaseError, match="was moved to PostgreSQL"):
            catalog.execute(COMMIT, ["s3://b/3"])
        assert catalog.execute("SELECT metadata_location FROM iceberg_tables").fetchone() == (
            "s3://b/2",
        )
    assert copy_catalog(settings, file) == 1, "once more, as after a death in between"


def test_database_with_another_catalog_is_left_alone(file: Path, database: str) -> None:
    settings = load_settings(lake_catalog_uri=database)
    copy_catalog(settings, file)
    engine = db.create_engine(with_driver(database))
    with engine.begin() as catalog:
        catalog.execute(db.text("UPDATE iceberg_tables SET metadata_location = 's3://b/9'"))
    engine.dispose()
    with pytest.raises(MoveError, match="already has a catalog"):
        copy_catalog(settings, file)
    assert locations(database) == [("s3://b/9", "TABLE")]


def test_database_that_is_away_leaves_the_file_in_use(file: Path) -> None:
    away = load_settings(lake_catalog_uri="postgresql://pipeline:sesame@127.0.0.1:9/lake")
    with pytest.raises(CatalogUnavailable, match=r"PostgreSQL at 127.0.0.1:9/lake") as error:
        copy_catalog(away, file)
    assert "sesame" not in str(error.value)
    with closing(sqlite3.connect(file)) as catalog:
        catalog.execute(COMMIT, ["s3://b/3"])


def test_missing_file_is_named(tmp_path: Path, database: str) -> None:
    missing = tmp_path / "catalog.db"
    with pytest.raises(MoveError, match="there is no catalog"):
        copy_catalog(load_settings(lake_catalog_uri=database), missing)
    assert not missing.exists()
