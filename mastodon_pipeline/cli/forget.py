"""`mastodon-pipeline forget`: take a person or a server out of the lake."""

import click

from mastodon_pipeline.errors import Interrupted, MaintenanceError


@click.command()
@click.argument("name", metavar="@USER@SERVER|SERVER")
@click.option("--dry-run", is_flag=True, help="Only report what would be made nameless.")
def forget(name: str, dry_run: bool) -> None:
    """Take a person or a server out of the lake.

    Text, hashtags, names and addresses of their toots leave landed files, the Iceberg table with
    all its older snapshots, toots and the tables of their days; what is counted stays. Who was
    forgotten is remembered as a hash, so that late or replayed toots do not bring it back. What
    Kafka and backups still hold is said at the end.

    \b
    Examples:
      mastodon-pipeline forget @ann@mastodon.social --dry-run
      mastodon-pipeline forget @ann@mastodon.social
      mastodon-pipeline forget example.social

    Exit codes: 0 done; 1 a service does not answer, maintenance runs, or something is left;
    2 the name is none; 130 Ctrl-C.
    """
    import duckdb

    from mastodon_pipeline.maintenance.forgetting import forget as forget_name
    from mastodon_pipeline.maintenance.forgetting import parse_name, require_nothing_left
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    try:
        report = forget_name(settings, parse_name(name), dry_run=dry_run, log=_print_step)
    except duckdb.Error as error:
        raise MaintenanceError(str(error).splitlines()[0]) from error
    except KeyboardInterrupt:
        raise Interrupted("interrupted; the same command continues") from None
    for line in report.lines(settings):
        click.echo(line)
    require_nothing_left(report)


def _print_step(step: str) -> None:
    click.echo(step, err=True)
