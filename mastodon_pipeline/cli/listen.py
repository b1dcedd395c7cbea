"""The listening stage's commands."""

import logging
import os
import signal
import sys
import time
from datetime import UTC, datetime
from threading import Event
from types import FrameType

import click

from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.position_store import PositionStore, SavedPosition
from mastodon_pipeline.listening.records.record import Record
from mastodon_pipeline.listening.records.sink import Acknowledged, DeadLetter, TootSink
from mastodon_pipeline.listening.topic.kafka_listener import open_kafka
from mastodon_pipeline.settings import load_settings, parse_server


class PrintingSink:
    """Prints each toot on a line, and passes it on to Kafka where there is one.

    `stop` is set once nobody reads what is printed (`| head`).
    """

    def __init__(self, stop: Event, quiet: bool, kafka: TootSink | None = None) -> None:
        self._stop = stop
        self._quiet = quiet
        self._kafka = kafka
        self.dead_letters = 0

    def send(self, record: Record, acknowledged: Acknowledged) -> None:
        """Prints and passes on."""
        if self._kafka is not None:
            self._kafka.send(record, acknowledged)
        else:
            acknowledged()
        if not self._quiet:
            self._print(toot_line(record))

    def dead_letter(self, letter: DeadLetter, acknowledged: Acknowledged) -> None:
        """Says that something could not be understood, and passes it on."""
        self.dead_letters += 1
        if self._kafka is not None:
            self._kafka.dead_letter(letter, acknowledged)
        else:
            acknowledged()
        click.echo(f"not understood ({letter.event}): {letter.reason}", err=True)

    def poll(self) -> None:
        """Lets acknowledgements in."""
        if self._kafka is not None:
            self._kafka.poll()

    def close(self, timeout: float) -> None:
        """Flushes."""
        if self._kafka is not None:
            self._kafka.close(timeout)

    def _print(self, line: str) -> None:
        try:
            click.echo(line)
        except BrokenPipeError:
            self._quiet = True
            self._stop.set()
            # The interpreter flushes stdout once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _NoPositions:
    """Without Kafka there is nowhere to remember: listening begins at the newest toot."""

    def read(self) -> dict[str, SavedPosition]:
        return {}

    def write(self, key: str, position: SavedPosition) -> None:
        pass

    def flush(self) -> None:
        pass


def toot_line(record: Record) -> str:
    """One toot as one line: time (UTC), author, language, beginning of the text."""
    if record["event"] == "delete":
        return f"{_clock(record['created_at'])} deleted {record['uri'] or record['status_id']}"
    text = " ".join(record["mastodon_text"].split())
    # What a stranger wrote must not steer the terminal.
    shown = "".join(c if c.isprintable() else "�" for c in text)
    edited = " (edited)" if record["event"] == "status.update" else ""
    author = "".join(c for c in f"{record['username']}@{record['server']}" if c.isprintable())
    return (
        f"{_clock(record['created_at'])} {author}{edited} [{record['language'][:8]}] {shown[:200]}"
    )


@click.command(
    epilog=(
        "Streaming needs a token: `mastodon-pipeline login SERVER` gets one, or put one with the "
        "scope read:statuses into the environment variable MASTODON_TOKEN_<HOST>, for instance "
        "MASTODON_TOKEN_MASTODON_SOCIAL. Without one the server's public timeline is polled."
    )
)
@click.option(
    "--base-url", required=True, metavar="URL", help="The server: https://mastodon.social"
)
@click.option(
    "--public", is_flag=True, help="All the toots the server sees, not only its own accounts'."
)
@click.option("--enable-kafka", is_flag=True, help="Write the toots to Kafka (KAFKA_TOPIC).")
@click.option("--quiet", is_flag=True, help="Do not print the toots.")
@click.option(
    "--watchdog",
    type=click.FloatRange(min=1),
    metavar="N",
    help="Exit with code 1 when no toot has come for N seconds.",
)
def listen(
    base_url: str, public: bool, enable_kafka: bool, quiet: bool, watchdog: float | None
) -> None:
    """Follow one server and print its toots.

    One toot is one line; Ctrl-C ends it. This is the listener without Dagster: what `make up` runs
    for every configured server.
    """
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("mastodon_pipeline").setLevel(logging.INFO)
    settings = load_settings()
    server = parse_server(base_url, "public" if public else "local")
    kafka, positions = open_kafka(settings) if enable_kafka else (None, _NoPositions())
    stop = Event()
    sink = PrintingSink(stop, quiet, kafka)
    store: PositionStore = positions
    listener = Listener([server], settings, sink, store, stop)
    began = time.monotonic()
    complaint = ""

    def check() -> None:
        nonlocal complaint
        [statistics] = listener.statistics
        if statistics.state == "parked":
            complaint = f"{server.name} cannot be listened to: {statistics.reason}"
        elif watchdog and time.monotonic() - statistics.last_toot_at > watchdog:
            complaint = f"no toot from {server.name} for {watchdog:g} s"
        if complaint:
            listener.stop()

    def terminated(_signal: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, terminated)
    click.echo(f"listening to {server.name} ({server.feed} feed); Ctrl-C ends it", err=True)
    try:
        listener.run(check)
    except KeyboardInterrupt:
        pass
    except DeliveryFailed as error:
        complaint = str(error)
    [statistics] = listener.statistics
    click.echo(
        f"{statistics.toots} toots, {statistics.deletes} deletes, "
        f"{sink.dead_letters} not understood in {time.monotonic() - began:.0f} s",
        err=True,
    )
    if complaint:
        click.echo(f"mastodon-pipeline: {complaint}", err=True)
        sys.exit(1)


def _clock(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError):
        return "?"
