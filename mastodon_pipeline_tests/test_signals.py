"""Tests that interrupt a child process also work in a background job of a script."""

import signal
import subprocess
import sys

from mastodon_pipeline.paths import REPOSITORY

PROGRAM = """
import subprocess, sys
from mastodon_pipeline_tests.support.signals import restore_default_signals

restore_default_signals()
child = subprocess.Popen(["sleep", "300"])
child.send_signal(int(sys.argv[1]))
sys.exit(child.wait(timeout=900) + int(sys.argv[1]))
"""


def test_children_can_be_interrupted_although_we_ignore_signals() -> None:
    """A script's `make test &` starts with SIGINT and SIGQUIT ignored."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        command = [sys.executable, "-c", PROGRAM, str(number.value)]
        ignoring = ["sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh", *command]
        result = subprocess.run(ignoring, cwd=REPOSITORY, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr
