"""The end of the topic, read by a new listener for the toots that a former one recorded."""

from confluent_kafka import Producer

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


def toot(number: int) -> TootRecord:
    """A toot of another server, as the observing one reports it."""
    return TootRecord(
        uri=f"https://home.example/{number}",
        status_id=str(number),
        base_url=OBSERVER.base_url,
        server="home.example",
        created_at=POSTED,
    )


def write(settings: Settings, *records: TootRecord) -> None:
    """Put records into the topic as a former listener did."""
    sink, _ = open_kafka(settings)
    for record in records:
        sink.send(record, lambda: None)
    sink.close(20)


def test_new_listener_recalls_the_toots_of_a_former_one(settings: Settings) -> None:
    """A delete of theirs names the uri and the post time, so that their text goes in any hour.

    Shows G15.
    """
    write(settings, *(toot(number) for number in range(200)))
    seen = recall(settings).of_deleted(OBSERVER.base_url, "57")
    assert seen == SeenToot("https://home.example/57", "home.example", POSTED)
    assert delete_record("57", seen, OBSERVER, POSTED + 1).uri == "https://home.example/57"


def test_recalled_toots_do_not_count_as_read(settings: Settings) -> None:
    """They must not end the reading of a gap: what lies between may be missing."""
    write(settings, toot(1))
    assert recall(settings).get(OBSERVER.base_url, "1") is None


def test_empty_topic_deletes_and_foreign_bytes_recall_nothing(settings: Settings) -> None:
    write(settings)
    assert recall(settings).of_deleted(OBSERVER.base_url, "1") is None
    producer = Producer(settings.kafka_client_config())
    for value in (b"not a record", b"", None):
        producer.produce(settings.kafka_topic, value)
    producer.flush(20)
    write(settings, delete_record("1", None, OBSERVER, POSTED), toot(2))
    seen = recall(settings)
    assert seen.of_deleted(OBSERVER.base_url, "1") is None
    assert seen.of_deleted(OBSERVER.base_url, "2") is not None


def test_only_the_end_of_the_topic_is_read(settings: Settings) -> None:
    """A number of records, shared among the partitions: a long topic costs no more."""
    write(settings, *(toot(number) for number in range(400)))
    seen = recall(settings, records=40)
    known = [n for n in range(400) if seen.of_deleted(OBSERVER.base_url, str(n)) is not None]
    assert 0 < len(known) <= 40
    assert max(known) > 360
