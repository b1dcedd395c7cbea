"""A native stack for the time of a measurement, on ports and data of its own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from infra.native_stack import Ports, Stack


@contextmanager
def a_native_stack() -> Iterator[Stack]:
    """Starts it, sets the environment to it, and leaves nothing of it behind."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-bench-"))
    stack = Stack(data=data, ports=Ports.free(), say=lambda text: click.echo(text, err=True))
    former = dict(os.environ)
    try:
        stack.up()
        os.environ.update(stack.environment)
        yield stack
    finally:
        os.environ.clear()
        os.environ.update(former)
        stack.down()
        shutil.rmtree(data)
