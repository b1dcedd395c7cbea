"""Run a build tool so that it and its children never outlive us, even if we are interrupted."""

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
    """A build was stopped because another one failed or the user pressed Ctrl-C."""


def run_tool(
    what: str,
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    log: Path,
    stop: threading.Event,
) -> None:
    """Run a tool to its end, with its output in `log`; setting `stop` ends it and its children.

    Raises:
        Interrupted: `stop` was set.
        StackError: the tool failed; the message is one line.
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
        raise StackError(failure_message(what, log))


def failure_message(what: str, log: Path) -> str:
    """Summarize the log of a failed tool in one line that says what to do."""
    text = log.read_text(errors="replace")
    if "No space left on device" in text or "no space left on device" in text:
        return f"the disk is full: {what} could not be written; free some space (see {log})"
    if any(sign in text for sign in _OFFLINE):
        return (
            f"{what} could not be fetched: check the network, and run it again to continue "
            f"(see {log})"
        )
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if "ERROR" in line or "error" in line] or lines[-1:]
    return f"{what} failed: {errors[0][:200] if errors else 'it printed nothing'} (see {log})"


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
