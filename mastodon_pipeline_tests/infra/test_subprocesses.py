"""Build tools: stopped with all their children, and their failures told in one line."""

import os
import threading
import time
from pathlib import Path

import psutil
import pytest

from infra.native_stack import StackError
from infra.native_stack.minio import find_go
from infra.native_stack.subprocesses import Interrupted, explain, run_tool


def test_stopping_a_tool_stops_its_children(tmp_path: Path) -> None:
    """Ctrl-C while Go compiles: neither Go nor the compilers it started live on."""
    stop = threading.Event()
    pids = tmp_path / "pids"

    def stop_once_running() -> None:
        deadline = time.monotonic() + 10
        while not pids.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        stop.set()

    threading.Thread(target=stop_once_running).start()
    script = f"sleep 60 & echo $! $$ > {pids}.partial; mv {pids}.partial {pids}; wait"
    with pytest.raises(Interrupted):
        run_tool("a build", ["sh", "-c", script], os.environ, tmp_path / "log", stop)

    assert not any(psutil.pid_exists(int(pid)) and _lives(int(pid)) for pid in _read(pids))


def _read(pids: Path) -> list[str]:
    return pids.read_text().split()


def _lives(pid: int) -> bool:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("[ERROR] Could not transfer artifact x from central: Unknown host", "is there a network"),
        ("go: github.com/minio/minio: dial tcp: lookup proxy: no such host", "is there a network"),
        ("write /x/y.jar: no space left on device", "the disk is full"),
        ("[INFO] fine\n[ERROR] the pom is malformed\n[INFO] bye", "the pom is malformed"),
        ("", "it said nothing"),
    ],
)
def test_a_failed_tool_is_told_in_one_line(tmp_path: Path, said: str, told: str) -> None:
    """No wall of a tool's output: the cause where it is known, and where the rest is."""
    log = tmp_path / "log"
    log.write_text(said)

    line = explain("the jars of kafka", log)

    assert told in line
    assert str(log) in line
    assert "\n" not in line


def test_a_tools_failure_carries_its_log(tmp_path: Path) -> None:
    """The exit code alone decides, and what the tool said is in the line."""
    with pytest.raises(StackError, match=r"a build failed: error: no such flag"):
        run_tool(
            "a build",
            ["sh", "-c", "echo 'error: no such flag' >&2; exit 3"],
            os.environ,
            tmp_path / "log",
            threading.Event(),
        )


def test_a_missing_compiler_is_told_with_the_command_that_brings_it() -> None:
    """Without Go nothing can build MinIO."""
    with pytest.raises(StackError, match="run `make install`"):
        find_go(path="/nowhere")
