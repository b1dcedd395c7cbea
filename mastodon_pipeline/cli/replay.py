"""`mastodon-pipeline replay`: Parquet files back into the topic."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from threading import Event
from typing import TYPE_CHECKING

import click

from mastodon_pipeline.errors import DeliveryFailed, Interrupted, PipelineError

if TYPE_CHECKING:
    from mastodon_pipeline.listening.topic.replay import Row

_FLUSH_SECONDS = 60.0


@click.command()
@click.argument("glob", nargs=-1, required=True)
def replay(glob: tuple[str, ...]) -> None:
    """Send the toots of Parquet files to the topic again.

    GLOB names files, on this machine or in the object store (s3://), with the topic's columns
    (landed files, or those of the table toots) or with the article's fourteen. The toots keep
    their post times, get the source "replay", and land in the hours they belong to. Replaying
    twice changes nothing, since a toot counts once. Toots from before FIRST_DAY land, but are not
    counted.

    \b
    Examples:
      mastodon-pipeline replay 'old/mastodon-topic+0+*.parquet'
      mastodon-pipeline replay 's3://mastodon/topics/*/created_at_hour=2026-11-24-*/*.parquet'

    Exit codes: 0 done; 1 the files cannot be read, or Kafka did not take all of them; 130 Ctrl-C.
    """
    from mastodon_pipeline.lake.connection import connect_lake
    from mastodon_pipeline.listening.topic.opening import open_kafka
    from mastodon_pipeline.listening.topic.replay import (
        ParquetToots,
        ReplayCounts,
        connect_local,
    )
    from mastodon_pipeline.listening.topic.replay import replay as replay_rows
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    in_lake = any(path.startswith("s3://") for path in glob)
    counts = ReplayCounts()
    failure: PipelineError | None = None
    click.echo("reading the files", err=True)
    with ParquetToots(glob, partial(connect_lake, settings) if in_lake else connect_local) as toots:
        sink, _ = open_kafka(settings)
        try:
            with (
                _noting_ctrl_c() as stop,
                click.progressbar(
                    length=toots.row_count,
                    label=f"replaying {toots.row_count} rows",
                    file=sys.stderr,
                ) as bar,
            ):
                replay_rows(_until(stop, toots.rows()), sink, counts, bar.update)
                bar.update(toots.row_count % 1000)
        except KeyboardInterrupt:
            failure = Interrupted("interrupted; replay again, toots already there change nothing")
        except DeliveryFailed as error:
            failure = error
        finally:
            try:
                sink.close(_FLUSH_SECONDS)
            except DeliveryFailed as error:
                failure = failure or error
    click.echo(
        f"{counts.acknowledged} of {toots.row_count} rows are in {settings.kafka_topic}, "
        f"{counts.dead_letters} are not decodable",
        err=True,
    )
    if counts.dead_letters:
        click.echo(
            "the reasons: mastodon-pipeline consume --dead-letters --from-beginning", err=True
        )
    if failure:
        raise failure


@contextmanager
def _noting_ctrl_c() -> Iterator[Event]:
    """Note a Ctrl-C for `_until`: raised inside a delivery report it would lose that report."""
    stop = Event()
    former = signal.signal(signal.SIGINT, lambda *_: stop.set())
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, former)


def _until(stop: Event, rows: "Iterator[Row]") -> "Iterator[Row]":
    for row in rows:
        if stop.is_set():
            raise KeyboardInterrupt
        yield row
