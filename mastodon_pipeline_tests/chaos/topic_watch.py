"""Reads the topic all the time, beside the pipeline."""

import threading
import uuid
from collections import Counter

from confluent_kafka import Consumer, TopicPartition

from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings


class TopicWatch:
    """Reads the topic continuously, also over a restart of the broker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="topic watch")
        self.uris: set[str] = set()
        self.streamed: Counter[tuple[str, str]] = Counter()
        """How often each toot came over a server's stream, by (uri, the server's base URL)."""

    def __enter__(self) -> "TopicWatch":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _read(self) -> None:
        topic = self._settings.kafka_topic
        ensure_topics(self._settings, listening_topics(self._settings))
        consumer = Consumer(
            {
                **self._settings.kafka_client_config(),
                "group.id": f"chaos-{uuid.uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        partitions = consumer.list_topics(topic, timeout=300).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        while not self._stop.is_set():
            message = consumer.poll(0.5)
            if message is None or message.error() or (value := message.value()) is None:
                continue
            record = decode(value)
            if record.source == "stream" and record.event == "update":
                self.streamed[record.uri, record.base_url] += 1
            self.uris.add(record.uri)
        consumer.close()
