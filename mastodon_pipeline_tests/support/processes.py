"""Python processes that do not outlive their test."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

CLI = ("-c", "from mastodon_pipeline.cli.main import main; main()")
"""Arguments of `python_process` that run `mastodon-pipeline`."""


@contextmanager
def python_process(
    *arguments: str, environment: Mapping[str, str] | None = None, **options: Any
) -> Iterator["subprocess.Popen[str]"]:
    """Start Python with these arguments, and kill it at the end.

    `environment` is added to this process' own; `options` are Popen's.
    """
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | dict(environment or {}),
        text=True,
        **options,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
