"""`mastodon-pipeline login`: get a person's token, and store it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import LoginFailed
from mastodon_pipeline.paths import OWN_FILE

if TYPE_CHECKING:
    from mastodon_pipeline.listening.client.login import Login
    from mastodon_pipeline.servers import Server
    from mastodon_pipeline.settings import Settings


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
    from mastodon_pipeline.cli.contact import ask_for_contact
    from mastodon_pipeline.cli.servers import wanted_servers
    from mastodon_pipeline.listening.client.login import Login, save_token
    from mastodon_pipeline.listening.following.trial import try_server
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    [wanted] = wanted_servers(settings, [server])
    settings = ask_for_contact(settings, [wanted])
    try:
        with Login(wanted, settings) as attempt:
            address = _begin(attempt, wanted, settings)
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
    kind = trial.mode.kind if trial.mode else "park"
    if trial.mode is not None and kind in ("stream", "websocket"):
        over = " over a WebSocket" if kind == "websocket" else ""
        click.echo(f"{wanted.name} lets us stream its {trial.mode.feed} feed with it{over}.")
    elif trial.mode is not None and trial.mode.with_token:
        click.echo(
            f"{wanted.name} shows us its {trial.mode.feed} timeline with it: {trial.reason}."
        )
    else:
        click.echo(f"But {wanted.name} does not let us stream with it: {trial.reason}", err=True)
    if trial.mode is not None and trial.mode.note:
        click.echo(f"Note: {trial.mode.note}.", err=True)
    if trial.hidden:
        click.echo(f"But {trial.hidden}.", err=True)


def _begin(attempt: "Login", server: "Server", settings: "Settings") -> str:
    """Return the page's address.

    Raises LoginFailed, with the reason why we cannot follow the server either.
    """
    from mastodon_pipeline.listening.following.trial import try_server

    try:
        return attempt.begin()
    except LoginFailed as error:
        trial = try_server(server, settings, None)
        if trial.mode is None or trial.mode.kind != "park" or trial.reason in str(error):
            raise
        raise LoginFailed(f"{error}; {trial.reason}") from None
