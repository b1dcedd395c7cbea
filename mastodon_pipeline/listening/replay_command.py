"""`mastodon-pipeline replay`: Parquet files back into the topic."""

import sys

import click

from mastodon_pipeline.listening.kafka_listener import open_kafka
from mastodon_pipeline.listening.replaying import ParquetToots, Replayed, replay
from mastodon_pipeline.listening.toot_sink import DeliveryFailed
from mastodon_pipeline.settings import load_settings

_FLUSH_SECONDS = 60.0


@click.command(name="replay")
@click.argument("glob", nargs=-1, required=True)
def replay_files(glob: tuple[str, ...]) -> None:
    """Put the toots of Parquet files back into the topic.

    They keep their own post times. GLOB names local files with the topic's columns (landed ones,
    or those of the table toots) or with the article's fourteen. The records get the source
    "replay" and land in the hours they belong to; doing it twice changes nothing, for a toot
    counts once. Toots from before FIRST_DAY land, but are not counted.

    \b
    Examples:
      mastodon-pipeline replay 'old/mastodon-topic+0+*.parquet'
      FIRST_DAY=2023-02-01 mastodon-pipeline replay 'topics/**/*.parquet'
    """
    settings = load_settings()
    replayed = Replayed()
    complaint = ""
    click.echo("looking at the files", err=True)
    with ParquetToots(glob) as toots:
        sink, _ = open_kafka(settings)
        try:
            with click.progressbar(
                length=toots.rows, label=f"replaying {toots.rows} rows", file=sys.stderr
            ) as bar:
                replay(toots.records(), sink, replayed, bar.update)
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
