"""`mastodon-pipeline maintain`: the lake's maintenance, by hand or as a dry run."""

import click

from mastodon_pipeline.errors import Interrupted, MaintenanceError


@click.command()
@click.option("--dry-run", is_flag=True, help="Only report what would be removed.")
def maintain(dry_run: bool) -> None:
    """Remove from the lake what is verified and no longer needed.

    These are landed files of hours older than RAW_RETENTION_DAYS whose tables are verified, old
    snapshots of the Iceberg table, and files that no table or snapshot names. With
    PERSON_RETENTION_DAYS, what is older is made nameless: text and addresses go, hashes stand for
    names, counts stay. Dagster's
    lake_maintenance_schedule does the same every four hours; only one maintenance runs at a time.

    \b
    See first what would go:
      mastodon-pipeline maintain --dry-run

    Exit codes: 0 done; 1 a service does not answer, or another maintenance runs; 130 Ctrl-C.
    """
    import duckdb

    from mastodon_pipeline.maintenance.maintaining import maintain as maintain_lake
    from mastodon_pipeline.settings import load_settings

    try:
        report = maintain_lake(load_settings(), dry_run=dry_run, log=_print_step)
    except duckdb.Error as error:
        raise MaintenanceError(str(error).splitlines()[0]) from error
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the next maintenance continues") from None
    for line in report.lines():
        click.echo(line)


def _print_step(step: str) -> None:
    click.echo(step, err=True)
