"""Kafka opened for listening, as the settings say: topics, schema, producer, positions."""

from collections.abc import Sequence
from datetime import UTC, datetime
from threading import Event

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.past import PastReading
from mastodon_pipeline.listening.following.position_store import PositionStore
from mastodon_pipeline.listening.records.people import People
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.listening.topic.positions import KafkaPositions
from mastodon_pipeline.listening.topic.producer import TootProducer, kafka_producer
from mastodon_pipeline.listening.topic.recall import recall
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.listening.topic.topics import ensure_listening_topics
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings, load_settings


def open_kafka(settings: Settings) -> tuple[TootSink, PositionStore]:
    """Return a sink into the topic and the positions beside it.

    Topics and schema are created if they do not exist.

    Raises:
        KafkaUnavailable: no broker answers.
        RegistryUnavailable: the schema registry does not answer.
        SchemaIncompatible: the registry refuses the schema.
    """
    ensure_listening_topics(settings)
    producer = kafka_producer(settings)
    sink = TootProducer(producer, settings, register(settings))
    # One producer for both: a position is queued behind the toots that it covers.
    return sink, KafkaPositions(producer, settings)


def open_listener(
    servers: Sequence[Server], settings: Settings, stop: Event | None = None
) -> Listener:
    """Return a listener that follows `servers` into Kafka.

    Raises as `open_kafka` does, and SettingsError if a block list cannot be read.
    """
    people = People(settings, load_settings)
    sink, positions = open_kafka(settings)
    seen = recall(settings)
    return Listener(servers, settings, sink, positions, stop, seen=seen, people=people)


def open_backfill(
    server: Server, since: datetime, until: datetime | None, settings: Settings
) -> PastReading:
    """Return a reading of what the server published in a period (UTC; `until`: see PastReading).

    Raises SettingsError for a period that is none, and as `open_kafka` does.
    """
    now = datetime.now(UTC)
    start, end = since.replace(tzinfo=UTC), until and until.replace(tzinfo=UTC)
    if start >= min(end or now, now):
        raise SettingsError(f"the period begins on {start:%Y-%m-%d}, but not before its end or now")
    return PastReading(
        server,
        int(start.timestamp() * 1000),
        int(end.timestamp() * 1000) if end else None,
        settings,
        *open_kafka(settings),
    )
