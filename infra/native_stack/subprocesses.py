"""Running a build tool so that nothing of it outlives us, whatever interrupts us."""

import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from infra.native_stack.errors import StackError

_OFFLINE = (
    "Could not transfer artifact",
    "Unknown host",
    "dial tcp",
    "no such host",
    "Network is unreachable",
    "Connection refused",
    "connection refused",
    "Connection reset",
    "i/o timeout",
    "TLS handshake",
    "x509:",
)


class Interrupted(BaseException):
    """A build was told to stop because another one failed or a person pressed Ctrl-C."""


def run_tool(
    what: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    stop: threading.Event,
) -> None:
    """Runs a tool to its end, with its output in `log`; `stop` ends it and all its children.

    Raises Interrupted when stopped, and StackError, one line, when the tool fails.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(part) for part in command],
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        ) as process,
    ):
        try:
            while True:
                try:
                    status = process.wait(timeout=0.3)
                    break
                except subprocess.TimeoutExpired:
                    if stop.is_set():
                        raise Interrupted from None
        except BaseException:
            _end_group(process)
            raise
    if status != 0:
        raise StackError(explain(what, log))


def explain(what: str, log: Path) -> str:
    """One line for a person, from the log of a tool that failed."""
    text = log.read_text(errors="replace")
    if "No space left on device" in text or "no space left on device" in text:
        return f"the disk is full: {what} could not be written (see {log}); make room, run it again"
    if any(sign in text for sign in _OFFLINE):
        return (
            f"{what} could not be fetched: is there a network? Running it again continues where "
            f"it stopped (see {log})"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "ERROR" in line or "error" in line] or lines[-1:]
    return f"{what} failed: {telling[0][:200] if telling else 'it said nothing'} (see {log})"


def _end_group(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            continue
