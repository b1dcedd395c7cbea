"""`mastodon-pipeline dashboard`: the tables as a page for the browser."""

import click


@click.command()
@click.option(
    "--port",
    type=click.IntRange(1, 65_535),
    default=8501,
    envvar="DASHBOARD_PORT",
    show_default=True,
    show_envvar=True,
    help="On this machine.",
)
@click.option(
    "--address",
    default="127.0.0.1",
    show_default=True,
    help="Where it listens; 0.0.0.0 is for a container whose port is published on 127.0.0.1.",
)
def dashboard(port: int, address: str) -> None:
    """Serve a page with what is counted, for browsers on this machine.

    `make up` and `make demo` start it by themselves. It only reads, and asks for nothing: whoever
    uses this machine can open it. Ctrl-C ends it.

    \b
    Examples:
      mastodon-pipeline dashboard
      mastodon-pipeline dashboard --port 8600
    """
    from mastodon_pipeline.dashboard.launching import LOOPBACK, require_packages, run

    require_packages()
    click.echo("reading the lake", err=True)
    at = f"http://{LOOPBACK}:{port}"
    run(port, lambda: click.echo(f"the dashboard is at {at}", err=True), address)
