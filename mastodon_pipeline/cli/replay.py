"""`mastodon-pipeline replay`: Parquet files back into the topic."""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Event

import click
import duckdb

from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.records.record import Record
from mastodon_pipeline.listening.topic.kafka_listener import open_kafka
from mastodon_pipeline.listening.topic.replay import (
    ParquetToots,
    Replayed,
    connect_local,
    replay,
)
from mastodon_pipeline.settings import Settings, load_settings

Connect = Callable[[], duckdb.DuckDBPyConnection]
OpenLake = Callable[[Settings], duckdb.DuckDBPyConnection]
_FLUSH_SECONDS = 60.0


def replay_command(open_lake: OpenLake) -> click.Command:
    """The command. `open_lake` gives a DuckDB that reads the object store, where one is named."""

    @click.command(name="replay")
    @click.argument("glob", nargs=-1, required=True)
    def replay_files(glob: tuple[str, ...]) -> None:
        """Put the toots of Parquet files back into the topic.

        They keep their own post times. GLOB names files, here or in the object store (s3://), with
        the topic's columns (landed ones, or those of the table toots) or with the article's
        fourteen. The records get the source "replay" and land in the hours they belong to; doing
        it twice changes nothing, for a toot counts once. Toots from before FIRST_DAY land, but are
        not counted.

        \b
        Examples:
          mastodon-pipeline replay 'old/mastodon-topic+0+*.parquet'
          mastodon-pipeline replay 's3://mastodon/topics/*/created_at_hour=2026-11-24-*/*.parquet'
        """
        settings = load_settings()
        if any(path.startswith("s3://") for path in glob):
            _replay(glob, settings, partial(open_lake, settings))
        else:
            _replay(glob, settings, connect_local)

    return replay_files


def _replay(globs: Sequence[str], settings: Settings, connect: Connect) -> None:
    replayed = Replayed()
    complaint = ""
    click.echo("looking at the files", err=True)
    with ParquetToots(globs, connect) as toots:
        sink, _ = open_kafka(settings)
        try:
            with (
                _noting_ctrl_c() as stop,
                click.progressbar(
                    length=toots.rows, label=f"replaying {toots.rows} rows", file=sys.stderr
                ) as bar,
            ):
                replay(_until(stop, toots.records()), sink, replayed, bar.update)
                bar.update(toots.rows % 1000)
        except KeyboardInterrupt:
            complaint = "interrupted; replay again, what is there already changes nothing"
        except DeliveryFailed as error:
            complaint = str(error)
        finally:
            try:
                sink.close(_FLUSH_SECONDS)
            except DeliveryFailed as error:
                complaint = complaint or str(error)
    click.echo(
        f"{replayed.acknowledged} of {toots.rows} rows are in {settings.kafka_topic}, "
        f"{replayed.dead_letters} are not understood",
        err=True,
    )
    if replayed.dead_letters:
        click.echo("see why: mastodon-pipeline consume --dead-letters --from-beginning", err=True)
    if complaint:
        click.echo(f"mastodon-pipeline: {complaint}", err=True)
        sys.exit(1)


@contextmanager
def _noting_ctrl_c() -> Iterator[Event]:
    """Notes a Ctrl-C for `_until`: raised inside a delivery report it would lose that report."""
    stop = Event()
    former = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)


def _until(stop: Event, records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        if stop.is_set():
            raise KeyboardInterrupt
        yield record
