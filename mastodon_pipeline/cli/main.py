"""The `mastodon-pipeline` command: what a person types, with or without Dagster."""

import sys

import click
import duckdb

from mastodon_pipeline.cli.consume import consume
from mastodon_pipeline.cli.doctor import doctor
from mastodon_pipeline.cli.listen import listen
from mastodon_pipeline.cli.login import login
from mastodon_pipeline.cli.maintain import maintain_command
from mastodon_pipeline.cli.replay import replay_command
from mastodon_pipeline.cli.servers import servers
from mastodon_pipeline.cli.sql import sql
from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mastodon-pipeline")
def cli() -> None:
    """Counts what happens on the Fediverse.

    Start the native stack first (make up); without it `listen` only prints, and
    `consume` has nothing to read.
    """


def _open_lake(settings: Settings) -> duckdb.DuckDBPyConnection:
    # Imported when asked: it brings Dagster, which takes a second.
    from mastodon_pipeline.lake.connection import connect_lake

    return connect_lake(settings)


cli.add_command(doctor)
cli.add_command(listen)
cli.add_command(login)
cli.add_command(consume)
cli.add_command(maintain_command)
cli.add_command(replay_command(_open_lake))
cli.add_command(servers)
cli.add_command(sql)


def main() -> None:
    """Runs the command; a person's mistake becomes one line on stderr and exit code 2."""
    try:
        cli()
    except PipelineError as error:
        click.echo(f"mastodon-pipeline: {error}", err=True)
        sys.exit(error.exit_code)
