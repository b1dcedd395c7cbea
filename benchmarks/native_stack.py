"""A native stack for the time of a measurement, which says on stderr what it is doing."""

from contextlib import AbstractContextManager

import click

from infra.native_stack import Stack, temporary_stack


def a_native_stack() -> AbstractContextManager[Stack]:
    """Starts it, sets the environment to it, and leaves nothing of it behind."""
    return temporary_stack(lambda text: click.echo(text, err=True))
