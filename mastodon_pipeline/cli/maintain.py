"""`mastodon-pipeline maintain`: the lake's maintenance, by hand or as a dry run."""

import sys

import click

from mastodon_pipeline.settings import load_settings


@click.command("maintain")
@click.option("--dry-run", is_flag=True, help="Only say what would be done, and change nothing.")
def maintain_command(dry_run: bool) -> None:
    """Remove from the lake what is verified and no longer needed.

    Landed files of hours older than RAW_RETENTION_DAYS whose tables are verified, old snapshots of
    the Iceberg table, and files that nothing names any more. Dagster's lake_maintenance_schedule
    does the same every four hours; one at a time, whoever starts it.

    \b
    Look first:
      mastodon-pipeline maintain --dry-run
    \b
    Exit codes: 0 done; 1 something could not be reached, or another maintenance is at work.
    """
    # Not at the module's head: every other command would wait for DuckDB and Dagster.
    import duckdb

    from mastodon_pipeline.errors import PipelineError
    from mastodon_pipeline.maintenance.maintaining import maintain

    try:
        report = maintain(load_settings(), dry_run=dry_run, say=_say)
    except (PipelineError, duckdb.Error) as error:
        click.echo(f"mastodon-pipeline: {str(error).splitlines()[0]}", err=True)
        sys.exit(1)
    except KeyboardInterrupt:
        click.echo("mastodon-pipeline: interrupted; the next run goes on", err=True)
        sys.exit(130)
    for line in report.lines():
        click.echo(line)


def _say(doing: str) -> None:
    click.echo(doing, err=True)
