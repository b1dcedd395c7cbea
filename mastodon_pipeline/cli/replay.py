"""`mastodon-pipeline replay`: Parquet files, or dead letters, back into the topic."""

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
    from mastodon_pipeline.settings import Settings

_FLUSH_SECONDS = 60.0


@click.command()
@click.argument("glob", nargs=-1)
@click.option(
    "--dead-letters",
    is_flag=True,
    help="Instead of files, send what the sink put into the dead letters.",
)
@click.option(
    "--dismiss",
    is_flag=True,
    help="With --dead-letters: what is no record is settled, and no light stays red for it.",
)
def replay(glob: tuple[str, ...], dead_letters: bool, dismiss: bool) -> None:
    """Send Parquet files, or dead letters, to the topic again.

    GLOB names files, on this machine or in the object store (s3://), with the topic's columns
    (landed files, or those of the table toots) or with the article's fourteen. The toots keep
    their post times (those of the article are dated by their ids), get the source "replay", and
    land in the hours they belong to. Replaying twice changes nothing, since a toot counts once.
    The tables begin with the oldest of the toots, if that is after FIRST_DAY.

    The sink's dead letters are records that Kafka Connect could not read, also good ones while the
    schema registry was away. Each that the registry can decode now is sent once; the others stay,
    with their reasons, until --dismiss.

    \b
    Examples:
      mastodon-pipeline replay 'old/mastodon-topic+0+*.parquet'
      mastodon-pipeline replay 's3://mastodon/topics/*/kafka_timestamp_day=2026-11-24/*.parquet'
      mastodon-pipeline replay --dead-letters

    Exit codes: 0 done; 1 the files cannot be read, or Kafka did not take all of them; 130 Ctrl-C.
    """
    from mastodon_pipeline.lake.connection import connect_lake
    from mastodon_pipeline.listening.records.people import People
    from mastodon_pipeline.listening.topic.opening import open_kafka
    from mastodon_pipeline.listening.topic.replay import (
        ParquetToots,
        ReplayCounts,
        connect_local,
    )
    from mastodon_pipeline.listening.topic.replay import replay as replay_rows
    from mastodon_pipeline.settings import load_settings

    if dead_letters == bool(glob):
        raise click.UsageError("give either files or --dead-letters")
    if dismiss and not dead_letters:
        raise click.UsageError("--dismiss goes with --dead-letters")
    settings = load_settings()
    if dead_letters:
        _put_back(settings, dismiss)
        return
    rules = People(settings).rules
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
                replay_rows(_until(stop, toots.rows()), sink, counts, bar.update, rules)
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
        f"{counts.dead_letters} are not decodable"
        f"{f', {counts.excluded} of blocked authors are left out' if counts.excluded else ''}",
        err=True,
    )
    if counts.dead_letters:
        click.echo(
            "the reasons: mastodon-pipeline consume --dead-letters --from-beginning", err=True
        )
    if failure:
        raise failure


def _put_back(settings: "Settings", dismiss: bool) -> None:
    from mastodon_pipeline.landing.put_back import put_back

    result = put_back(settings, dismiss=dismiss)
    click.echo(
        f"{result.acknowledged} of {result.letters} dead letters of the sink are in "
        f"{settings.kafka_topic} again, {result.bad} are no records"
        f"{' and were dismissed' if dismiss and result.bad else ''}",
        err=True,
    )
    for reason in result.reasons:
        click.echo(f"  {reason}", err=True)
    if result.bad > len(result.reasons):
        click.echo(f"  and {result.bad - len(result.reasons)} more", err=True)
    if result.bad and not dismiss:
        click.echo(
            "if nothing can be done about them: mastodon-pipeline replay --dead-letters --dismiss",
            err=True,
        )


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
