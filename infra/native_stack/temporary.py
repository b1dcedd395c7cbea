"""A native stack for the duration of a test or a benchmark."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.native_stack.ports import Ports
from infra.native_stack.stack import Stack


@contextmanager
def temporary_stack() -> Iterator[Stack]:
    """Run a separate native stack, and point the environment at it.

    Afterwards the environment is restored, even if the block raised. Raises StackError if the
    stack cannot start.
    """
    previous = dict(os.environ)
    with running_stack() as stack:
        try:
            os.environ.update(stack.environment)
            yield stack
        finally:
            os.environ.clear()
            os.environ.update(previous)


@contextmanager
def running_stack() -> Iterator[Stack]:
    """Run a separate native stack, without Dagster.

    It uses free ports and a temporary data directory, so it does not disturb a stack on the default
    ports. Afterwards the stack and its data are removed, even if the block raised. Progress goes to
    stderr. Raises StackError if the stack cannot start.
    """
    # A path with a space and a letter that is not ASCII, as people have them.
    data = Path(tempfile.mkdtemp(prefix="mastodon stack Übung-"))
    stack = Stack(data=data, ports=Ports.free(), say=_print)
    try:
        stack.up()
        yield stack
    finally:
        stack.down()
        shutil.rmtree(data)


def _print(line: str) -> None:
    print(line, file=sys.stderr)
