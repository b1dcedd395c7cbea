"""Sends messages to their targets, within a time that nothing can exceed.

Apprise knows the services: https://appriseit.com/services/. It runs in a process of its own, see
`sending`; the URLs reach it through a pipe, so no list of processes shows them.
"""

import subprocess
import sys
from collections.abc import Sequence

import msgspec

from mastodon_pipeline.alerting.rules import Message

DEADLINE_SECONDS = 25.0
"""For all targets together: a tick of a sensor is given up after 60 s."""


class Batch(msgspec.Struct, frozen=True):
    """What is to be sent to one target, in order."""

    url: str
    messages: list[Message]

    def __repr__(self) -> str:
        return f"Batch({len(self.messages)} messages)"  # the URL is a secret


class Attempt(msgspec.Struct, frozen=True):
    """What became of a message."""

    target: int
    """The position of its batch."""
    service: str
    """What Apprise calls the target's kind, such as `Slack`; '' if it is unknown."""
    error: str
    """Why it was not accepted; '' if it was."""


class Delivery(msgspec.Struct, frozen=True):
    """What became of a batch."""

    service: str
    accepted: int
    """How many messages were accepted, from the first on."""
    error: str
    """Why the next one was not; '' if all were."""


def deliver(batches: Sequence[Batch], deadline_seconds: float = DEADLINE_SECONDS) -> list[Delivery]:
    """Send the batches, all at once; return what became of each, in the order given.

    A message that was sent just when the time was up counts as not accepted: it may be sent twice.
    """
    if not batches:
        return []
    output, timed_out = _output(msgspec.json.encode(list(batches)), deadline_seconds)
    attempts = [
        msgspec.json.decode(line, type=Attempt)
        for line in output.splitlines(keepends=True)
        if line.endswith(b"\n")  # the process may have been killed in the middle of a line
    ]
    no_answer = (
        f"it did not answer within {deadline_seconds:.0f} s" if timed_out else "sending it failed"
    )
    return [
        _delivery(batch, [a for a in attempts if a.target == position], no_answer)
        for position, batch in enumerate(batches)
    ]


def _delivery(batch: Batch, attempts: Sequence[Attempt], no_answer: str) -> Delivery:
    accepted = sum(not attempt.error for attempt in attempts)
    errors = [attempt.error for attempt in attempts if attempt.error]
    if not errors and accepted < len(batch.messages):
        errors = [no_answer]
    return Delivery(attempts[0].service if attempts else "", accepted, "".join(errors[:1]))


def _output(batches: bytes, deadline_seconds: float) -> tuple[bytes, bool]:
    """Return what the sending process printed, and whether it was killed at the deadline."""
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "mastodon_pipeline.alerting.sending"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # it may contain URLs
        )
    except OSError:  # no memory or no process left: the messages wait
        return b"", False
    with process:
        try:
            return process.communicate(batches, timeout=deadline_seconds)[0], False
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()[0], True
        finally:
            process.kill()
