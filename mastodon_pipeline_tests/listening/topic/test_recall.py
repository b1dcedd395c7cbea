"""What the end of the topic tells a new listener of toots that a former one recorded."""

import uuid

import pytest
from confluent_kafka import Producer

from infra.native_stack import Stack
from mastodon_pipeline.listening.records.record import (
    ObservingServer,
    SeenToot,
    TootRecord,
    delete_record,
)
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.recall import recall
from mastodon_pipeline.settings import Settings

OBSERVER = ObservingServer("https://seen.example", "seen.example")
POSTED = 1_790_000_000_123


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics of the test's own."""
    monkeypatch.setenv("KAFKA_TOPIC", f"recalled-{uuid.uuid4().hex[:8]}")
    return Settings()


def toot(number: int) -> TootRecord:
    """A toot of another server, as told by the observing one."""
    return TootRecord(
        uri=f"https://home.example/{number}",
        status_id=str(number),
        base_url=OBSERVER.base_url,
        server="home.example",
        created_at=POSTED,
    )


def written(settings: Settings, *records: TootRecord) -> None:
    """What a former listener left in the topic."""
    sink, _ = open_kafka(settings)
    for record in records:
        sink.send(record, lambda: None)
    sink.close(20)


def test_a_new_listener_knows_the_toots_of_a_former_one(settings: Settings) -> None:
    """A delete of theirs names the uri and the post time, so that their text goes in any hour."""
    written(settings, *(toot(number) for number in range(200)))
    seen = recall(settings).of_deleted(OBSERVER.base_url, "57")
    assert seen == SeenToot("https://home.example/57", "home.example", POSTED)
    assert delete_record("57", seen, OBSERVER, POSTED + 1).uri == "https://home.example/57"


def test_they_do_not_count_as_read(settings: Settings) -> None:
    """Whether a gap's page is known must not be judged by them: what lies between may miss."""
    written(settings, toot(1))
    assert recall(settings).get(OBSERVER.base_url, "1") is None


def test_an_empty_topic_and_what_is_no_record_recall_nothing(settings: Settings) -> None:
    """Deletes, and bytes of strangers, are passed over."""
    written(settings)
    assert recall(settings).of_deleted(OBSERVER.base_url, "1") is None
    producer = Producer(settings.kafka_client_config())
    for value in (b"not a record", b"", None):
        producer.produce(settings.kafka_topic, value)
    producer.flush(20)
    written(settings, delete_record("1", None, OBSERVER, POSTED), toot(2))
    found = recall(settings)
    assert found.of_deleted(OBSERVER.base_url, "1") is None
    assert found.of_deleted(OBSERVER.base_url, "2") is not None


def test_only_the_end_of_the_topic_is_read(settings: Settings) -> None:
    """So many records, shared among the partitions: a long topic costs no more than a short one."""
    written(settings, *(toot(number) for number in range(400)))
    found = recall(settings, records=40)
    known = [n for n in range(400) if found.of_deleted(OBSERVER.base_url, str(n)) is not None]
    assert 0 < len(known) <= 40
    assert max(known) > 360
