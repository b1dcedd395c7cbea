"""`mastodon-pipeline to-postgres`: copy what SQLite files hold into PostgreSQL databases."""

from pathlib import Path

import click

from mastodon_pipeline.errors import SettingsError


@click.command()
@click.option(
    "--home",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Dagster's home, if it is not that of the stack.",
)
@click.option(
    "--catalog",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The catalog's SQLite file, if it is not that of the stack.",
)
def to_postgres(home: Path | None, catalog: Path | None) -> None:
    """Copy Dagster's history and the Iceberg catalog from SQLite files into PostgreSQL.

    Into the databases that DAGSTER_POSTGRES_URL and LAKE_CATALOG_URI name, whichever is set. They
    have to be empty, and Dagster has to be stopped. The SQLite files stay; that of the catalog
    refuses every change from then on.

    \b
    Example, with the settings in .env:
      make down
      mastodon-pipeline to-postgres
      make up

    Exit codes: 0 done; 1 nothing could be copied, and the line says why; 2 no database is set.
    """
    from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, database_name, postgres_url
    from mastodon_pipeline.landing.catalog import catalog_address
    from mastodon_pipeline.moving.catalog import copy_catalog
    from mastodon_pipeline.moving.history import copy_history
    from mastodon_pipeline.paths import data_directory
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    address = catalog_address(settings)
    catalog_is_there = address.get_backend_name() == "postgresql"
    url = postgres_url()
    if url is None and not catalog_is_there:
        raise SettingsError(f"set {POSTGRES_VARIABLE} or LAKE_CATALOG_URI (in .env), or both")
    if catalog_is_there:
        file = catalog or data_directory() / "lake" / "catalog.db"
        tables = copy_catalog(settings, file)
        name = database_name(address.render_as_string(hide_password=False))
        click.echo(f"the Iceberg catalog is in {name}: {tables} table(s); {file} refuses changes")
    if url is not None:
        runs = copy_history(home or data_directory() / "dagster", url, _say)
        click.echo(f"Dagster's history is in {database_name(url)}: {runs:,} runs")


def _say(line: str) -> None:
    click.echo(line, err=True)
