"""What waits to be sent to whom: each message to each target, in order, until it was accepted.

Pure. A target is known by a digest of its URL, since the URL is a secret and this is stored.

- A target that does not accept a message is tried again, after a minute and then after twice as
  long each time, up to half an hour; the others do not wait for it.
- A target gets 12 notifications an hour at most. What waits longer, or is more than three messages,
  is sent as one notification: nothing is left out, but for the oldest of more than 50.
"""

import hashlib
from collections.abc import Sequence

import msgspec

from mastodon_pipeline.alerting.rules import Message

MAX_PER_HOUR = 12
MAX_SEPARATE = 3
MAX_PENDING = 50
MAX_JOINED_CHARACTERS = 3000
FIRST_PAUSE_SECONDS = 50.0
"""A bit less than the sensor's minute, so that the next tick is the first retry."""
LONGEST_PAUSE_SECONDS = 1800.0


class Target(msgspec.Struct):
    """Where messages go, and what waits for it. Times: seconds since 1970, UTC."""

    id: str
    pending: list[Message] = []
    sent_at: list[float] = []
    """When it accepted notifications within the last hour."""
    failures: int = 0
    """How many times in a row it accepted nothing."""
    retry_at: float = 0.0
    left_out: int = 0
    """Messages that were dropped because more than 50 waited."""

    def add(self, messages: Sequence[Message]) -> None:
        """Let these messages wait, behind those that wait already."""
        waiting = [*self.pending, *messages]
        self.left_out += max(0, len(waiting) - MAX_PENDING)
        self.pending = waiting[-MAX_PENDING:]

    def due(self, now: float) -> list[Message]:
        """Return the notifications to send now: the first messages that wait, or all as one."""
        self.sent_at = [at for at in self.sent_at if now - 3600.0 < at <= now]
        # If the clock went back, do not wait until it is where it was.
        self.retry_at = min(self.retry_at, now + LONGEST_PAUSE_SECONDS)
        room = MAX_PER_HOUR - len(self.sent_at)
        if not self.pending or room <= 0 or now < self.retry_at:
            return []
        if len(self.pending) <= min(MAX_SEPARATE, room) and not self.left_out:
            return list(self.pending)
        return [_joined(self.pending, self.left_out)]

    def record(self, due: Sequence[Message], accepted: int, now: float) -> None:
        """Take the first `accepted` of what was due out of what waits."""
        self.sent_at += [now] * accepted
        if list(due) == self.pending[: len(due)]:
            self.pending = self.pending[accepted:]
        elif accepted:  # all of them, joined
            self.pending, self.left_out = [], 0
        if accepted:
            self.failures = 0
        if accepted < len(due):
            pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self.failures, 10)
            self.failures += 1
            self.retry_at = now + min(pause, LONGEST_PAUSE_SECONDS)


def target_id(url: str) -> str:
    """Return what stands for a URL in Dagster's storage: too short to tell the URL from."""
    return hashlib.sha256(url.encode()).hexdigest()[:8]


def _joined(messages: Sequence[Message], left_out: int) -> Message:
    began = sum(message.event == "began" for message in messages)
    parts = [f"{message.title}\n{message.body}" for message in messages]
    body = "\n\n".join(parts)
    if len(body) > MAX_JOINED_CHARACTERS:
        body = "\n".join(f"- {message.title}" for message in messages)
    if left_out:
        body = f"{left_out} older messages are left out.\n\n{body}"
    title = f"{len(messages)} messages: {began} began, {len(messages) - began} over"
    return Message("began" if began else "over", title, body)
