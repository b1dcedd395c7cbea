"""The listening stage's commands."""

import click


@click.command()
def listen() -> None:
    """Follow one server and print or produce its toots."""
