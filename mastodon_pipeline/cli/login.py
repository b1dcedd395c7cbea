"""`mastodon-pipeline login`: get a person's token, and store it."""

import os
from pathlib import Path

import click

from mastodon_pipeline.errors import LoginFailed
from mastodon_pipeline.paths import OWN_FILE


@click.command()
@click.argument("server")
@click.option(
    "--env-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    default=OWN_FILE,
    show_default=True,
    help="Where to store the token.",
)
def login(server: str, env_file: Path) -> None:
    """Get a token for SERVER, so that its stream can be followed.

    You open a page of the server in your browser, allow mastodon_pipeline to read statuses
    (read:statuses, nothing more), and paste the code that the page shows. The token is stored in
    the settings file, readable by you alone, and never shown. You can take it back at any time in
    the server's preferences, under "Authorized apps".

    \b
    Example:
      mastodon-pipeline login mastodon.social
    """
    from mastodon_pipeline.cli.servers import wanted_servers
    from mastodon_pipeline.listening.client.login import Login, save_token
    from mastodon_pipeline.listening.following.trial import try_server
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    [wanted] = wanted_servers(settings, [server])
    try:
        with Login(wanted, settings) as attempt:
            address = attempt.begin()
            click.echo(f"Open this page, logged in to {wanted.name}, and allow what it asks:\n")
            click.echo("  " + "".join(c for c in address if c.isprintable()) + "\n")
            token = attempt.finish(click.prompt("Paste the code that it shows"))
        save_token(env_file, wanted.token_env, token)
    except OSError as error:
        raise LoginFailed(str(error)) from error
    click.echo(f"The token is stored as {wanted.token_env} in {env_file}.")
    if os.environ.get(wanted.token_env, token) != token:
        click.echo(
            f"The environment sets {wanted.token_env} to something else, which overrides the "
            "file: unset it.",
            err=True,
        )
    trial = try_server(wanted, settings, token)
    if trial.mode is not None and trial.mode.kind == "stream":
        click.echo(f"{wanted.name} lets us stream its {wanted.feed} feed with it.")
    else:
        click.echo(f"But {wanted.name} does not let us stream with it: {trial.reason}", err=True)
