"""Losses planted between a listener and `toots`, on the real stack: each turns the ledger red.

Each test has its own source; what it finds names how many, which source, since when, and why.
Shows G26.
"""

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import TopicPartition

from infra.native_stack import Stack
from mastodon_pipeline.kafka import (
    admin_client,
    ensure_topics,
    open_consumer,
)
from mastodon_pipeline.lake.bucket import ensure_bucket, s3_client
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.sink_progress import dead_lettered, sink_progress
from mastodon_pipeline.ledger.accepting import OFFSETS, accept, accept_with_offsets
from mastodon_pipeline.ledger.assets import describe
from mastodon_pipeline.ledger.checking import EarlierCheck, check_ledger
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.ledger.conftest import (
    ENVIRONMENT,
    Books,
    connect_sink,
    sink_config,
    sink_runs,
)
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.kafka_topics import apply_topic_config
from mastodon_pipeline_tests.support.landing_sink import wait_for_sink
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.integration
LATER = timedelta(minutes=15)
WITHOUT_BUCKET = {"kafka_topic": ENVIRONMENT["KAFKA_TOPIC"], "connector_name": "none"}


@pytest.fixture(autouse=True)
def sink_runs_afterwards(books: Books) -> Iterator[None]:
    """What one test did to the sink, no other sees, however the test ended."""
    yield
    if not sink_runs(books.settings):
        connect_sink(books.settings)


def landed_files(books: Books) -> list[str]:
    """Return the keys of the files with this source's records."""
    rows = books.lake.connection.execute(
        "SELECT DISTINCT filename FROM"
        " read_parquet($files, filename := true, union_by_name := true) WHERE base_url = $source",
        {
            "files": [file.path for file in books.lake.parquet_files(books.lake.layout.landed())],
            "source": f"https://{books.domain}",
        },
    ).fetchall()
    return [books.lake.layout.key(path) for (path,) in rows]


def stop_sink(books: Books) -> None:
    """Delete the connector, and wait until its group has no member."""
    with ConnectRest.of(books.settings) as connect:
        connect.delete(books.settings.connector_name)
    group = f"connect-{books.settings.connector_name}"
    admin = admin_client(books.settings)

    def is_empty() -> bool:
        [described] = admin.describe_consumer_groups([group]).values()
        return not described.result(300).members

    wait_until(is_empty, "the sink's group is empty")


def commit_ends(books: Books) -> None:
    """Reset the sink's offsets forward, to the end of the topic."""
    with open_consumer(
        books.settings, group=f"connect-{books.settings.connector_name}"
    ) as consumer:
        places = [
            TopicPartition(books.settings.kafka_topic, p.partition, p.end)
            for p in sink_progress(books.settings)
        ]
        consumer.commit(offsets=places, asynchronous=False)


def receive(books: Books, number: int, schema_id: int | None = None) -> None:
    """Receive and tally, whatever becomes of it."""
    run = books.listen(schema_id)
    run.receive(number)
    run.save(ended=True)


def test_nothing_is_missing_where_nothing_was_lost(books: Books) -> None:
    """All figures add up."""
    books.receive_all(20)
    ledger = books.check(LATER)
    assert books.losses(LATER) == []
    assert ledger.judged
    assert ledger.hours > 0
    assert ledger.balance.acknowledged == ledger.balance.landed > 0


def test_pipeline_that_nothing_has_reached_yet_lacks_nothing(books: Books) -> None:
    """Neither topics nor a bucket exist."""
    settings = load_settings(kafka_topic="no-topic", s3_bucket="no-bucket", connector_name="none")
    with open_lake(settings) as lake:
        ledger = check_ledger(settings, lake, sink_seconds=0)
    assert (ledger.open, ledger.balance.received) == (0, 0)


def test_lake_and_kafka_that_were_lost_together(stack: Stack) -> None:
    """Dagster's event log alone knows that there was anything. The light stays red from then on."""
    settings = load_settings(kafka_topic="no-topic", s3_bucket="lost-bucket", connector_name="none")
    ensure_bucket(settings)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    earlier = EarlierCheck(70, int((now - timedelta(days=3)).timestamp() * 1000))
    with open_lake(settings) as lake:
        ledger = check_ledger(settings, lake, sink_seconds=0, earlier=earlier)
        assert (ledger.open, ledger.forgotten) == (70, 70)
        assert "70 records are missing" in describe(ledger)
        assert "the lake and Kafka lost them together" in describe(ledger)
        assert check_ledger(settings, lake, sink_seconds=0, earlier=earlier).open == 70
        [loss] = ledger.losses
        accept(lake, [loss.name], "Ann", "both disks died")
        assert check_ledger(settings, lake, sink_seconds=0, earlier=earlier).open == 0


def test_bucket_that_is_deleted_alone_costs_no_record(books: Books) -> None:
    """Kafka still has the tallies, and its records land again."""
    books.receive_all(20)
    ledger = books.check()
    settings = load_settings(s3_bucket="new-bucket", **WITHOUT_BUCKET)
    ensure_bucket(settings)
    earlier = EarlierCheck(ledger.balance.acknowledged, ledger.since)
    with open_lake(settings) as lake:
        assert check_ledger(settings, lake, sink_seconds=0, earlier=earlier).forgotten == 0


def test_records_that_the_sink_passes_over(books: Books) -> None:
    """Somebody changed the connector by hand: what it cannot convert, it drops without a word."""
    books.receive_all(20)
    assert books.losses() == []
    settings = books.settings
    config = sink_config(settings)
    del config["errors.deadletterqueue.topic.name"]
    stop_sink(books)  # its tasks would go on with their former configuration for a while
    with ConnectRest.of(settings) as connect:
        connect.put_config(settings.connector_name, config)
    receive(books, 7, schema_id=987_654)
    books.receive_all(40)  # behind them in each partition, so that the sink commits
    connect_sink(books.settings)
    assert books.losses() == [("landed", 7, "passed over by the sink")]


def test_landed_file_that_is_deleted(books: Books) -> None:
    """Also when Kafka no longer has its records, and its table was built from what is left."""
    books.receive_all(20)
    assert books.losses() == []
    keys = landed_files(books)
    with closing(s3_client(books.settings)) as s3:
        for key in keys:
            s3.delete_object(Bucket=books.settings.s3_bucket, Key=key)
    [(stage, records, reason)] = books.losses()
    assert (stage, records) == ("landed", 20)
    assert reason.startswith("landed file ")
    assert " is gone" in reason
    assert books.losses() == [(stage, records, reason)], "the reason was seen only once"


@pytest.mark.parametrize("kept_bytes", [7, 2000])
def test_landed_file_that_is_truncated(books: Books, kept_bytes: int) -> None:
    """The other files are counted all the same, and it is put back."""
    books.receive_all(20)
    assert books.losses() == []
    bucket, keys = books.settings.s3_bucket, landed_files(books)
    with closing(s3_client(books.settings)) as s3:
        whole = {key: s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}
        for key, content in whole.items():
            s3.put_object(Bucket=bucket, Key=key, Body=content[:kept_bytes])
        [(stage, records, reason)] = books.losses()
        assert (stage, records) == ("landed", 20)
        assert "cannot be read" in reason
        for key, content in whole.items():
            s3.put_object(Bucket=bucket, Key=key, Body=content)
    assert books.losses() == []


def test_landed_file_that_is_replaced_by_another(books: Books) -> None:
    """By an older one, of another source."""
    books.receive_all(20)
    [first, *_] = landed_files(books)
    other = Books(books.settings, books.lake)
    other.receive_all(5)
    assert (books.losses(), other.losses()) == ([], [])
    bucket = books.settings.s3_bucket
    with closing(s3_client(books.settings)) as s3:
        for key in landed_files(other):
            content = s3.get_object(Bucket=bucket, Key=first)["Body"].read()
            s3.put_object(Bucket=bucket, Key=key, Body=content)
    [(stage, records, reason)] = other.losses()
    assert (stage, records) == ("landed", 5)
    assert "was replaced" in reason
    assert books.losses() == []


def test_offsets_that_are_reset_forward(books: Books) -> None:
    """The sink goes on behind what it never read."""
    books.receive_all(20)
    stop_sink(books)
    receive(books, 9)
    assert books.losses(sink_seconds=0) == [], "in flight: the sink has not been there"
    commit_ends(books)
    connect_sink(books.settings)
    books.receive_all(1)
    assert books.losses() == [("landed", 9, "passed over by the sink")]


def test_unread_records_that_retention_takes(books: Books) -> None:
    """Removed from Kafka before the sink had read them."""
    books.receive_all(20)
    stop_sink(books)
    receive(books, 11)
    removed = [
        TopicPartition(books.settings.kafka_topic, p.partition, p.end)
        for p in sink_progress(books.settings)
    ]
    admin = admin_client(books.settings)  # held until it is done: without it, its requests end
    for future in admin.delete_records(removed).values():
        future.result(300)
    connect_sink(books.settings)
    receive(books, 1)
    wait_for_sink(books.settings)
    [(stage, records, reason)] = books.losses()
    assert (stage, records) == ("landed", 11)
    assert reason.startswith("removed by Kafka's retention before the sink had read them")
    [loss] = [loss for loss in books.check().losses if loss.source.endswith(books.domain)]
    names = [loss.name, OFFSETS]
    accepted = dict(accept_with_offsets(books.settings, books.lake, names, "Ann", "too late"))
    assert accepted[loss.name] == 11
    assert accepted[OFFSETS] >= 11
    completeness = landing_completeness(books.settings, books.lake)
    assert completeness.lost >= 11
    assert completeness.accepted == completeness.offsets_lost, "its light is green again"


def test_topic_that_is_made_again(books: Books) -> None:
    """Its records are gone, and the tallies' topic as well: the ledger remembers."""
    books.receive_all(20)
    stop_sink(books)
    receive(books, 13)
    assert books.losses(sink_seconds=0) == [], "in flight: the sink has not been there"
    admin = admin_client(books.settings)
    topics = [books.settings.kafka_topic, books.settings.tallies_topic]
    for future in admin.delete_topics(topics).values():
        future.result(300)
    wait_until(
        lambda: not set(topics) & admin.list_topics(timeout=300).topics.keys(), "topics are gone"
    )
    assert books.losses(sink_seconds=0) == [], "listeners may be reading them again"
    assert [loss[:2] for loss in books.losses(LATER, sink_seconds=0)] == [("landed", 13)]
    ensure_topics(books.settings, listening_topics(books.settings))
    connect_sink(books.settings)
    [(stage, records, reason)] = books.losses(LATER)
    assert (stage, records) == ("landed", 13)
    assert reason.startswith("lost with Kafka's data")


def test_good_records_in_the_dead_letters_of_the_sink(books: Books) -> None:
    """Connect could not get their schema."""
    books.receive_all(20)
    before = dead_lettered(books.settings)
    receive(books, 3, schema_id=987_654)
    wait_until(
        lambda: len(dead_lettered(books.settings) - before) == 3, "they are in the dead letters"
    )
    books.receive_all(40)  # behind them in each partition, so that the sink commits
    [(stage, records, reason)] = books.losses()
    assert (stage, records) == ("landed", 3)
    assert reason.startswith("in the sink's dead letters")


def test_toots_file_that_is_deleted(books: Books) -> None:
    """Red if nothing builds it again."""
    books.receive_all(20)
    assert books.losses(LATER) == []
    key = books.lake.layout.key(books.lake.layout.toots(books.hour))
    with closing(s3_client(books.settings)) as s3:
        s3.delete_object(Bucket=books.settings.s3_bucket, Key=key)
    [(stage, records, reason)] = books.losses(LATER)
    assert (stage, records) == ("toots", 20)
    assert "does not exist" in reason
    build_hours(books.lake, books.hour)
    assert books.losses(LATER) == []


def test_toots_file_that_is_replaced_by_an_older_one(books: Books) -> None:
    """From a backup: it says what it was made of."""
    books.receive_all(20)
    bucket, key = (
        books.settings.s3_bucket,
        books.lake.layout.key(books.lake.layout.toots(books.hour)),
    )
    with closing(s3_client(books.settings)) as s3:
        older = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        books.receive_all(4)
        assert books.losses(LATER) == []
        s3.put_object(Bucket=bucket, Key=key, Body=older)
    [(stage, records, reason)] = books.losses(LATER)
    assert (stage, records) == ("toots", 4)
    assert "is made of other files" in reason


def test_toots_made_of_fewer_files_than_they_say(books: Books) -> None:
    """A defect of ours, or a wrong merge: the fingerprint is right, and toots are missing."""
    books.receive_all(20)
    path = books.lake.layout.toots(books.hour)
    built_from = books.lake.built_from([path])[path]
    books.lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE fewer AS FROM '{path}' LIMIT 18")
    books.lake.connection.execute(
        "COPY fewer TO $path (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": built_from},
    )
    [(stage, records, reason)] = books.losses(LATER)
    assert (stage, records) == ("toots", 2)
    assert "left out of" in reason


def test_received_toots_that_kafka_never_acknowledged(books: Books) -> None:
    """The broker refuses them, which ends their listener; well again once another has read on."""
    books.receive_all(20)
    topic = books.settings.kafka_topic
    run = books.listen()
    apply_topic_config(books.settings, topic, {"max.message.bytes": "20"})
    try:
        run.receive(6)
        run.save(ended=True)
    finally:
        apply_topic_config(books.settings, topic, {"max.message.bytes": "1048588"})
    [(stage, records, reason)] = books.losses(LATER)
    assert (stage, records) == ("acknowledged", 6)
    assert "never acknowledged by Kafka" in reason
    books.receive_all(6)
    assert books.losses(LATER) == []


def test_killed_listener_is_no_loss(books: Books) -> None:
    """It saved no tally of its last toots, and the next one reads some of them again."""
    run = books.listen()
    run.receive(10)
    run.save()
    run.receive(4)
    run.flush()  # acknowledged, and then killed
    books.receive_all(6)
    ledger = books.check(LATER)
    assert books.losses(LATER) == []
    assert ledger.balance.after_last_tally >= 4


def test_accepted_loss_stays_in_the_ledger_and_more_is_a_new_one(books: Books) -> None:
    """Who and why are kept; the light is about what is not accepted."""
    books.receive_all(20)
    assert books.losses() == []
    with closing(s3_client(books.settings)) as s3:
        for key in landed_files(books):
            s3.delete_object(Bucket=books.settings.s3_bucket, Key=key)
    before = books.check()
    [loss] = [loss for loss in before.losses if loss.source.endswith(books.domain)]
    assert loss.name in describe(before)
    accept(books.lake, [loss.name], "Ann", "the disk died")
    after = books.check()
    assert before.open - after.open == 20
    assert loss.name in [known.name for known in after.losses]
