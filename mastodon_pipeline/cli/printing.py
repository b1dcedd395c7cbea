"""Where `mastodon-pipeline listen` sends toots to: the terminal, and Kafka if it is enabled."""

import os
import sys
from collections.abc import Collection
from datetime import UTC, datetime
from threading import Event

import click

from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter, TootSink


class PrintingSink:
    """Prints each toot on a line, and passes it on to Kafka if there is one.

    `stop` is set once nobody reads what is printed (`| head`).
    """

    def __init__(self, stop: Event, quiet: bool, kafka: TootSink | None = None) -> None:
        self._stop = stop
        self._quiet = quiet
        self._kafka = kafka
        self.dead_letters = 0

    def send(self, record: TootRecord, acknowledged: Acknowledged) -> None:
        """Pass the record on, and print it."""
        if self._kafka is not None:
            self._kafka.send(record, acknowledged)
        else:
            acknowledged()
        if not self._quiet:
            self._print(toot_line(record))

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Pass on what could not be decoded, and print why."""
        self.dead_letters += 1
        if self._kafka is not None:
            self._kafka.dead_letter(letter, acknowledged)
        else:
            acknowledged()
        click.echo(f"not decodable ({letter.event}): {letter.reason}", err=True)

    def poll(self) -> None:
        """Handle Kafka's delivery reports."""
        if self._kafka is not None:
            self._kafka.poll()

    def close(self, timeout_seconds: float) -> None:
        """Flush Kafka's producer, for at most `timeout_seconds`."""
        if self._kafka is not None:
            self._kafka.close(timeout_seconds)

    def _print(self, line: str) -> None:
        try:
            click.echo(line)
        except BrokenPipeError:
            self._quiet = True
            self._stop.set()
            # The interpreter flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class NoPositions:
    """Saves no positions, since there is no Kafka to save them in: each start is at the newest."""

    def read(self, feeds: Collection[str] = ()) -> dict[str, SavedPosition]:
        """Return no positions."""
        return {}

    def check(self) -> None:
        """Do nothing: nothing is acknowledged."""

    def write(self, key: str, position: SavedPosition) -> None:
        """Drop the position."""

    def write_tally(self, tally: SavedTally) -> bool:
        """Drop the tally."""
        return True

    def flush(self) -> None:
        """Do nothing."""


def toot_line(record: TootRecord) -> str:
    """Return a toot as one line: time (UTC), author, language, beginning of the text."""
    if record.event == "delete":
        return f"{_clock(record.created_at)} deleted {record.uri or record.status_id}"
    text = " ".join(record.mastodon_text.split())
    # What a stranger wrote must not steer the terminal.
    shown = "".join(c if c.isprintable() else "�" for c in text)
    edited = " (edited)" if record.event == "status.update" else ""
    author = "".join(c for c in f"{record.username}@{record.server}" if c.isprintable())
    return f"{_clock(record.created_at)} {author}{edited} [{record.language[:8]}] {shown[:200]}"


def _clock(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return "?"
