"""A native stack for the time of a test or a measurement."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.native_stack.ports import Ports
from infra.native_stack.stack import Stack


@contextmanager
def temporary_stack(say: Callable[[str], None] = print) -> Iterator[Stack]:
    """A whole native stack of the caller's own, without Dagster, and the environment set to it.

    It has free ports and a temporary data directory, so a stack on the default ports is not
    disturbed. Both are gone afterwards, however the body ended; the environment is as it was.
    `say` is told what is being done. Raises StackError where it cannot start.
    """
    data = Path(tempfile.mkdtemp(prefix="mastodon-stack-"))
    former = dict(os.environ)
    stack = Stack(data=data, ports=Ports.free(), say=say)
    try:
        stack.up()
        os.environ.update(stack.environment)
        yield stack
    finally:
        os.environ.clear()
        os.environ.update(former)
        stack.down()
        shutil.rmtree(data)
