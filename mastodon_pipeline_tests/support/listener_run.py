"""A listener run without servers: what is received goes through the real recorder into Kafka."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from itertools import count
from uuid import uuid4

from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.records.record import ObservingServer
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.listening.topic.positions import KafkaPositions
from mastodon_pipeline.listening.topic.producer import TootProducer, kafka_producer
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings

_numbers: Iterator[int] = count(1)


class ListenerRun:
    """One run that follows one server, whose toots were all posted in one hour."""

    def __init__(
        self, settings: Settings, domain: str, posted: datetime, schema_id: int | None = None
    ) -> None:
        """`posted`: UTC. Values name the schema `schema_id`, by default the registered one."""
        self.source = f"https://{domain}"
        self._posted = posted
        producer = kafka_producer(settings)
        registered = register(settings)
        self.sink: TootSink = TootProducer(producer, settings, schema_id or registered)
        self._store = KafkaPositions(producer, settings)
        self.position = FeedPosition(None)
        self._recorder = TootRecorder(
            ObservingServer(self.source, domain),
            self.sink,
            SeenToots(),
            self.position,
            ServerStatistics(parse_server(domain)),
        )
        self._run = uuid4().hex
        self._started_at = time.time_ns() // 1_000_000

    def receive(self, number: int) -> list[str]:
        """Receive new toots; return their uris."""
        return [self._receive(next(_numbers)) for _ in range(number)]

    def flush(self) -> None:
        """Wait until the broker has all."""
        self._store.flush()
        self.sink.poll()

    def save(self, *, ended: bool = False) -> None:
        """Save the tallies, as a listener does every ten seconds, and at its end."""
        self._store.flush()
        self.position.advance()
        template = SavedTally(
            self._run,
            self._started_at,
            self.source,
            0,
            ended=ended,
            written_at=time.time_ns() // 1_000_000,
        )
        for tally in self.position.tallies.changed(template):
            assert self._store.write_tally(tally)
            self.position.tallies.note_saved(tally)
        self._store.flush()

    def _receive(self, number: int) -> str:
        toot = {
            "id": str(number),
            "uri": f"{self.source}/{number}",
            "created_at": f"{self._posted:%Y-%m-%dT%H:%M:%S}.{number % 1000:03}Z",
            "account": {"acct": f"user{number}"},
            "content": "<p>hello</p>",
            "visibility": "public",
        }
        self._recorder.take(json.dumps(toot).encode(), "update", "stream")
        return str(toot["uri"])
