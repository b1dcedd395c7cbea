"""Asks, once, who runs this listener, before other people's servers are read."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import OWN_FILE
from mastodon_pipeline.setting_files import read_variables

if TYPE_CHECKING:
    from mastodon_pipeline.servers import Server
    from mastodon_pipeline.settings import Settings

_VARIABLE = "MASTODON_CONTACT"


def ask_for_contact(settings: "Settings", servers: "Sequence[Server] | None" = None) -> "Settings":
    """Return the settings, with the contact that a person has just entered if it was missing.

    On a terminal it is asked for, once: the answer is stored in `.env`, an empty one too. Elsewhere
    one line on stderr asks for it. `servers`: those that will be asked; by default the configured
    ones. Servers of this machine, such as the simulator's, need none.
    """
    from mastodon_pipeline.listening.client.login import save_token
    from mastodon_pipeline.settings import load_settings

    request = settings.contact_request(servers)
    if not request or _VARIABLE in read_variables(OWN_FILE):
        return settings
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        click.echo(f"note: {request}", err=True)
        return settings
    click.echo(f"{request[0].upper()}{request[1:]}.", err=True)
    while True:
        prompt = "A page or an e-mail address (Enter for none)"
        contact = click.prompt(prompt, default="", show_default=False, err=True).strip()
        try:
            changed = load_settings(mastodon_contact=contact)
        except SettingsError as error:
            click.echo(str(error), err=True)
            continue
        try:
            save_token(OWN_FILE, _VARIABLE, contact)
        except OSError as error:
            click.echo(f"it could not be stored: {error}", err=True)
        return changed
