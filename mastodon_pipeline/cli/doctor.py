"""`mastodon-pipeline doctor`: what is unhealthy, and how to fix it."""

import sys

import click

_MARKS = {"healthy": "ok", "waiting": "..", "unhealthy": "!!"}


@click.command()
def doctor() -> None:
    """Report what is missing or unhealthy, and how to fix it.

    It checks everything a toot passes through, from the configured servers to the usage tables,
    and changes nothing. Each line is one part:

    \b
      ok  healthy
      ..  nothing is wrong, but it has had nothing to do yet
      !!  unhealthy, with the command that fixes it
    \b
    Examples:
      mastodon-pipeline doctor
      mastodon-pipeline doctor && echo "everything is healthy"

    Exit codes: 0 nothing is unhealthy; 1 something is.
    """
    from mastodon_pipeline.cli.health_checks import check_health

    unhealthy = 0
    for health in check_health():
        unhealthy += health.state == "unhealthy"
        click.echo(f"{_MARKS[health.state]}  {health.part:<16} {health.detail}")
    if unhealthy:
        click.echo(f"\n{unhealthy} unhealthy; `make status` shows where the logs are", err=True)
        sys.exit(1)
