"""Processes that a killed process manager leaves behind."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from infra.native_stack.processes import MARKER, end_processes, marked_processes, wait_until_ended
from mastodon_pipeline_tests.support.waiting import wait_until


@pytest.fixture
def unreaped(tmp_path: Path) -> Iterator[psutil.Process]:
    """A process of the stack in `tmp_path`; its parent reaps it as little as a container's PID 1
    that is no init."""
    script = f'env "{MARKER}=$0" sleep 1000 & echo $!; exec sleep 1000'
    with subprocess.Popen(
        ["sh", "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        try:
            yield psutil.Process(int(parent.stdout.readline()))
        finally:
            parent.kill()


@pytest.mark.timeout(120)
def test_process_that_nobody_reaps_is_not_waited_for(
    tmp_path: Path, unreaped: psutil.Process
) -> None:
    wait_until(lambda: marked_processes(tmp_path), "the process is started")

    assert end_processes(tmp_path, timeout_seconds=600) == 1

    assert unreaped.status() == psutil.STATUS_ZOMBIE
    assert marked_processes(tmp_path) == []


def test_process_that_still_runs_is_returned(unreaped: psutil.Process) -> None:
    assert wait_until_ended([unreaped], 0.2) == [unreaped]
