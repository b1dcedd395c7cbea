"""`mastodon-pipeline doctor`."""

import sys

import click

_MARKS = {"healthy": "ok", "waiting": "..", "ill": "!!"}


@click.command()
def doctor() -> None:
    """Say what is missing or unhealthy, and the command that mends it.

    Looks at everything a toot passes, from the configured servers to the counted hours, and
    changes nothing. "ok" is healthy, ".." has had nothing to do yet, "!!" is ill: then the exit
    code is 1.

    \b
    Example:
      mastodon-pipeline doctor
    """
    from mastodon_pipeline.doctor import examine  # It brings Dagster, which takes a second.

    ill = 0
    for finding in examine():
        ill += finding.state == "ill"
        click.echo(f"{_MARKS[finding.state]}  {finding.part:<16} {finding.detail}")
    if ill:
        click.echo(f"\n{ill} ill; `make status` tells where the logs are", err=True)
        sys.exit(1)
