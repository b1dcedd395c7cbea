"""The Iceberg catalog's address: Kafka Connect's, as the pipeline needs it."""

from pathlib import Path

import pytest

from mastodon_pipeline.errors import CatalogUnavailable, SettingsError
from mastodon_pipeline.landing.catalog import catalog_address
from mastodon_pipeline.landing.iceberg import open_table
from mastodon_pipeline.settings import Settings, load_settings


def test_sqlite_catalog_is_opened_and_never_created(settings: Settings) -> None:
    """An empty catalog would hide that the sink's is elsewhere."""
    address = catalog_address(
        load_settings(iceberg_catalog_uri="jdbc:sqlite:file:/lake/a b.db?journal_mode=WAL")
    )
    assert address.database == "file:/lake/a%20b.db"
    assert dict(address.query) == {"mode": "rw", "timeout": "15.0", "uri": "true"}


def test_missing_catalog_is_one_line_that_names_the_setting(
    settings: Settings, tmp_path: Path
) -> None:
    """The file is not created."""
    missing = tmp_path / "catalog.db"
    wrong = settings.model_copy(update={"iceberg_catalog_uri": f"jdbc:sqlite:file:{missing}"})
    with pytest.raises(CatalogUnavailable, match="LAKE_CATALOG_URI") as error:
        open_table(wrong)
    assert "\n" not in str(error.value)
    assert not missing.exists()


def test_postgresql_is_addressed_with_its_user_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """JDBC has them in the query, SQLAlchemy in front of the host."""
    monkeypatch.setenv("CATALOG_PASSWORD", "p@ss")
    jdbc = (
        "jdbc:postgresql://db.example:5433/lake"
        "?user=sink&password=${env:CATALOG_PASSWORD}&sslmode=require"
    )
    address = catalog_address(load_settings(iceberg_catalog_uri=jdbc))
    rendered = address.render_as_string(hide_password=False)
    assert rendered.startswith("postgresql+psycopg2://sink:p%40ss@db.example:5433/lake?")
    assert address.query["sslmode"] == "require"
    assert "ss@db" not in str(address)


def test_catalog_password_that_is_not_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CATALOG_PASSWORD", raising=False)
    jdbc = "jdbc:postgresql://db.example/lake?user=sink&password=${env:CATALOG_PASSWORD}"
    with pytest.raises(SettingsError, match="CATALOG_PASSWORD, which is not set"):
        catalog_address(load_settings(iceberg_catalog_uri=jdbc))


@pytest.mark.parametrize(
    "jdbc",
    [
        "jdbc:postgresql://db/lake?user=sink&password=secret",
        "jdbc:postgresql://db/lake?password=secret&user=sink",
        "jdbc:postgresql://sink:secret@db/lake",
        "jdbc:sqlserver://db;user=sink;password=secret",
        "jdbc:mysql://db/lake?PASSWORD=secret",
        "jdbc:postgresql://db/lake?password=${env:A}secret",
    ],
)
def test_catalog_password_is_refused_since_connect_would_show_it(jdbc: str) -> None:
    """Its REST API answers everyone, and its config topic keeps what it answers. Shows G20."""
    with pytest.raises(SettingsError, match=r"ICEBERG_CATALOG_URI: .*\$\{env:NAME\}") as error:
        load_settings(iceberg_catalog_uri=jdbc)
    assert "secret" not in str(error.value)


def test_lake_catalog_uri_overrides_connects_address() -> None:
    """Connect may reach the catalog at another address than the pipeline does."""
    own = "postgresql+psycopg://sink:hush@127.0.0.1/lake"
    settings = load_settings(lake_catalog_uri=own)
    assert catalog_address(settings).host == "127.0.0.1"
    assert "hush" not in repr(settings)


def test_other_catalogs_need_lake_catalog_uri() -> None:
    with pytest.raises(SettingsError, match="LAKE_CATALOG_URI"):
        catalog_address(load_settings(iceberg_catalog_uri="jdbc:mysql://db.example/lake"))
