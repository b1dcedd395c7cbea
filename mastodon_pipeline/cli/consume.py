"""`mastodon-pipeline consume`: what the topic holds, record by record."""

import click


@click.command()
@click.option(
    "--from-beginning",
    is_flag=True,
    help="Start at the oldest record of the topic; without this, at the next one that arrives.",
)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Stop after N records.")
@click.option(
    "--dead-letters",
    is_flag=True,
    help="Print what could not be recorded or landed instead, with the reason.",
)
def consume(from_beginning: bool, limit: int | None, dead_letters: bool) -> None:
    """Print the records of the topic as JSON, one a line.

    Ctrl-C stops. The names are those of the Avro schema; kafka_partition and kafka_offset are the
    record's place in Kafka. Nothing is committed, so the sink and other consumers are not
    disturbed.

    \b
    Examples:
      mastodon-pipeline consume
      mastodon-pipeline consume --from-beginning --limit 1000 | jq -r .server | sort | uniq -c
      mastodon-pipeline consume --dead-letters --from-beginning
    """
    from mastodon_pipeline.listening.topic.reading import dead_letter_json, follow, toot_json
    from mastodon_pipeline.listening.topic.registry import WritersSchemas
    from mastodon_pipeline.settings import load_settings

    settings = load_settings()
    topic = settings.dead_letter_topic if dead_letters else settings.kafka_topic
    writers_schemas = WritersSchemas(settings)
    waiting = False
    printed = 0

    def outage(reason: str) -> None:
        nonlocal waiting
        if not waiting:
            click.echo(f"waiting for Kafka: {reason}", err=True)
        waiting = True

    try:
        with follow(settings, topic, from_beginning, outage) as messages:
            click.echo(f"reading {topic}; Ctrl-C stops", err=True)
            for message in messages:
                waiting = False
                try:
                    line = (
                        dead_letter_json(message)
                        if dead_letters
                        else toot_json(message, writers_schemas)
                    )
                except ValueError as error:
                    place = f"partition {message.partition()} offset {message.offset()}"
                    click.echo(f"not decodable: {place}: {error}", err=True)
                    continue
                printed += 1  # Before it is printed, so that Ctrl-C never leaves one uncounted.
                click.echo(line)
                if printed == limit:
                    break
    except KeyboardInterrupt:
        pass
    click.echo(f"{printed} records", err=True)
