"""Build tools: stopped with all their children, and failures reported in one line."""

import os
import threading
from pathlib import Path

import psutil
import pytest

from infra.native_stack import StackError
from infra.native_stack.minio import find_go
from infra.native_stack.processes import has_ended
from infra.native_stack.subprocesses import Interrupted, failure_message, run_tool
from mastodon_pipeline_tests.support.waiting import wait_until


def test_stopping_a_tool_stops_its_children(tmp_path: Path) -> None:
    """Ctrl-C while Go compiles ends Go and the compilers that it started."""
    stop = threading.Event()
    pids = tmp_path / "pids"

    def stop_once_running() -> None:
        try:
            wait_until(pids.exists, "the tool runs")
        finally:
            stop.set()

    threading.Thread(target=stop_once_running).start()
    script = f"sleep 60 & echo $! $$ > {pids}.partial; mv {pids}.partial {pids}; wait"
    with pytest.raises(Interrupted):
        run_tool("a build", ["sh", "-c", script], os.environ, tmp_path / "log", stop)

    processes = [int(pid) for pid in pids.read_text().split()]
    # They have been sent SIGKILL, but on a busy machine they take a moment to end.
    wait_until(lambda: not any(map(runs, processes)), "all processes have ended")


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and not has_ended(psutil.Process(pid))


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("[ERROR] Could not transfer artifact x from central: Unknown host", "check the network"),
        ("go: github.com/minio/minio: dial tcp: lookup proxy: no such host", "check the network"),
        ("write /x/y.jar: no space left on device", "the disk is full"),
        ("[INFO] fine\n[ERROR] the pom is malformed\n[INFO] bye", "the pom is malformed"),
        ("", "it printed nothing"),
    ],
)
def test_tool_failure_is_one_line_with_cause_and_log(
    tmp_path: Path, output: str, cause: str
) -> None:
    log = tmp_path / "log"
    log.write_text(output)

    line = failure_message("the jars of kafka", log)

    assert cause in line
    assert str(log) in line
    assert "\n" not in line


def test_nonzero_exit_code_raises_with_the_tools_error(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"a build failed: error: no such flag"):
        run_tool(
            "a build",
            ["sh", "-c", "echo 'error: no such flag' >&2; exit 3"],
            os.environ,
            tmp_path / "log",
            threading.Event(),
        )


def test_missing_go_compiler_names_the_command_that_installs_it() -> None:
    with pytest.raises(StackError, match="run `make install`"):
        find_go(path="/nowhere")
