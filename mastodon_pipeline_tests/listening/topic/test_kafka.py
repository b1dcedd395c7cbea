"""Listening into a real Kafka and schema registry."""

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from confluent_kafka.schema_registry import ConfigCompatibilityLevel

from infra.native_stack import Stack
from infra.simulator.faults import MALFORMED
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import KafkaUnavailable, RegistryUnavailable, SchemaIncompatible
from mastodon_pipeline.kafka import admin_client, ensure_topics
from mastodon_pipeline.listening.assets import observe_mastodon_topic
from mastodon_pipeline.listening.following.instance import InstanceInfo
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.sensors import listener_supervisor
from mastodon_pipeline.listening.supervising.groups import Assignment
from mastodon_pipeline.listening.supervising.reports import load_reports
from mastodon_pipeline.listening.supervising.runs import (
    DEFAULT_GROUP,
    listener_runs,
    save_assignment,
)
from mastodon_pipeline.listening.topic.encoding import decode
from mastodon_pipeline.listening.topic.observation import observe_topic
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.registry import register, registry_client, value_subject
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.listening.conftest import listening, simulator_settings
from mastodon_pipeline_tests.support.recording_sink import wait_until

pytestmark = pytest.mark.integration
STREAMING = ServerPolicy("stream.example")
OTHER = ServerPolicy("other.example")
POLLED = ServerPolicy("poll.example", token=False)


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics of the test's own."""
    monkeypatch.setenv("KAFKA_TOPIC", f"listening-{uuid.uuid4().hex[:8]}")
    return Settings()


def read_all(settings: Settings, topic: str) -> list[Message]:
    """Every message that is in the topic now."""
    consumer = Consumer({**settings.kafka_client_config(), "group.id": "test"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        bounds = {n: consumer.get_watermark_offsets(TopicPartition(topic, n)) for n in partitions}
        consumer.assign([TopicPartition(topic, n, low) for n, (low, _) in bounds.items()])
        wanted = sum(high - low for low, high in bounds.values())
        found: list[Message] = []
        deadline = time.monotonic() + 20
        while len(found) < wanted and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and not message.error():
                found.append(message)
        return found
    finally:
        consumer.close()


def uris(settings: Settings) -> Counter[str]:
    """How often each toot is in the topic."""
    records = (
        decode(message.value() or b"") for message in read_all(settings, settings.kafka_topic)
    )
    return Counter(record.uri for record in records if record.event == "update")


def changed_schema(name: str, **change: object) -> str:
    """The schema with one field changed, or added."""
    schema = json.loads(schema_text())
    known = {field["name"]: field for field in schema["fields"]}
    if name in known:
        known[name].update(change)
    else:
        schema["fields"].append({"name": name, **change})
    return json.dumps(schema)


def test_records_arrive_and_decode(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every toot once, key = uri, Kafka's timestamp = post time, Confluent's wire format."""
    with Simulator(Options(toots=300, hours=3, speed=10_000)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        with listening(settings, *open_kafka(settings)):
            simulator.wait_until_done(60)
            truth = {toot.uri: toot for toot in simulator.truth()}
            wait_until(lambda: set(uris(settings)) >= set(truth), "all toots", 30)
    messages = read_all(settings, settings.kafka_topic)
    assert uris(settings) == Counter(truth.keys())
    for message in messages:
        record = decode(message.value() or b"")
        assert (message.key() or b"").decode() == record.uri
        assert message.timestamp()[1] == record.created_at
        assert record.server == truth[record.uri].server
    observed = observe_topic(settings)
    assert observed.end_offset == len(messages)
    assert observed.newest_record_at == max(m.timestamp()[1] for m in messages)


def test_a_bad_event_is_in_the_dead_letter_topic_with_its_reason(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The raw payload, and in the headers why, from whom and what it was."""
    with Simulator(Options(servers=(STREAMING,), toots=0, start="control")) as simulator:
        simulated = simulator_settings(simulator, monkeypatch)
        with listening(simulated, *open_kafka(simulated)) as listener:
            wait_until(lambda: listener.statistics[0].state == "streaming", "the stream")
            simulator.fault("event", name="bad_json")
            wait_until(lambda: listener.statistics[0].dead_letters == 1, "the dead letter")
        base_url = simulator.servers[0].base_url
    [message] = read_all(settings, settings.dead_letter_topic)
    headers: dict[str, bytes] = dict(message.headers() or [])  # type: ignore[arg-type]
    assert message.value() == MALFORMED["bad_json"]
    assert b"not JSON" in headers["reason"]
    assert headers["exception"] == b"UndecodableStatus"
    assert (headers["server"], headers["event"]) == (base_url.encode(), b"update")


def test_the_topics_keep_old_post_times(settings: Settings) -> None:
    """Retention by time would delete a toot of 2017 as soon as it came."""
    assert set(ensure_topics(settings, listening_topics(settings))) == {
        settings.kafka_topic,
        settings.dead_letter_topic,
        settings.positions_topic,
    }
    assert ensure_topics(settings, listening_topics(settings)) == ()
    topic = admin_client(settings).list_topics(timeout=10).topics[settings.kafka_topic]
    assert len(topic.partitions) == settings.kafka_topic_partitions
    sink, _ = open_kafka(settings)
    record = TootRecord(uri="https://a.example/1", created_at=1_490_000_000_000)
    acknowledged: list[bool] = []
    sink.send(record, lambda: acknowledged.append(True))
    sink.close(10)
    assert acknowledged == [True]
    [message] = read_all(settings, settings.kafka_topic)
    assert message.timestamp()[1] == 1_490_000_000_000


def test_positions_are_read_back_the_latest_of_each(settings: Settings) -> None:
    """By another process, or machine."""
    _, positions = open_kafka(settings)
    assert positions.read() == {}
    for last_id in ("7", "8", "9"):
        positions.write("https://a.example local", SavedPosition(last_id))
    gap = UnfilledGap("01J7", "01J8", 1, None, "the timeline answers 422", 3)
    told = InstanceInfo("b.example", "4.5.0", "public", "public", "https://streaming.b.example")
    positions.write("https://b.example local", SavedPosition("01J8", (gap,), told))
    positions.flush()
    _, others = open_kafka(settings)
    assert others.read() == {
        "https://a.example local": SavedPosition("9"),
        "https://b.example local": SavedPosition("01J8", (gap,), told),
    }


def test_the_schema_is_registered_and_guarded(settings: Settings) -> None:
    """Registering again gives the same id; the subject demands BACKWARD."""
    first = register(settings)
    assert register(settings) == first
    with registry_client(settings) as client:
        config = client.get_config(value_subject(settings))
    assert ConfigCompatibilityLevel.BACKWARD in (config.compatibility, config.compatibility_level)


@pytest.mark.parametrize(
    "schema",
    [
        changed_schema("favourites", type="string", default=""),
        changed_schema("mood", type="string"),
    ],
    ids=["a field's type changed", "a new field without default"],
)
def test_a_breaking_change_is_refused(settings: Settings, schema: str) -> None:
    """A reader with it could not read what the topic already holds."""
    register(settings)
    with pytest.raises(SchemaIncompatible, match="give new fields a default"):
        register(settings, schema)


def test_a_compatible_change_is_taken(settings: Settings) -> None:
    """A new field with a default: old records are read with it."""
    first = register(settings)
    assert register(settings, changed_schema("mood", type="string", default="")) != first


def test_unreachable_parts_are_one_clear_line(settings: Settings) -> None:
    """With the address, the command and the variable."""
    nowhere = settings.model_copy(
        update={
            "kafka_bootstrap_servers": "127.0.0.1:9",
            "schema_registry_url": "http://127.0.0.1:9",
        }
    )
    with pytest.raises(KafkaUnavailable, match="make up"):
        ensure_topics(nowhere, listening_topics(nowhere), deadline_seconds=1)
    with pytest.raises(RegistryUnavailable, match="SCHEMA_REGISTRY_URL"):
        register(nowhere)


@contextmanager
def a_process(environment: dict[str, str], *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of its own, which does not outlive the test."""
    with subprocess.Popen(
        [sys.executable, *arguments],
        env=os.environ | environment,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("policy", [STREAMING, POLLED], ids=["streamed", "polled"])
def test_a_killed_listener_loses_nothing(policy: ServerPolicy, settings: Settings) -> None:
    """kill -9 with toots in its queue and toots published while it is dead; then another one."""
    command = "from mastodon_pipeline.cli.main import main; main()"
    with Simulator(Options(servers=(policy,), toots=0, start="control")) as simulator:
        environment = simulator.environment | {"MASTODON_POLL_INTERVAL_SECONDS": "0.2"}
        listen = ["-c", command, "listen", "--enable-kafka", "--base-url"]
        published = []
        with a_process(environment, *listen, simulator.servers[0].base_url) as first:
            ensure_topics(settings, listening_topics(settings))
            positions = open_kafka(settings)[1]
            wait_until(lambda: bool(positions.read()), "the first position", 40)
            published += [simulator.publish() for _ in range(60)]
            wait_until(lambda: published[0] in uris(settings), "the first toots", 20)
            published += [simulator.publish() for _ in range(60)]
            first.kill()
            first.wait()
        published += [simulator.publish() for _ in range(60)]
        with a_process(environment, *listen, simulator.servers[0].base_url) as second:
            wait_until(lambda: set(uris(settings)) >= set(published), "every toot", 40)
            second.send_signal(signal.SIGINT)
            second.wait(20)
        assert set(uris(settings)) == set(published)


@pytest.fixture
def dagster_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """A Dagster instance on disk, which other processes open too."""
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    with dg.DagsterInstance.get() as instance:
        yield instance


def test_a_listener_run_changes_its_servers_and_ends_without_any(
    settings: Settings, dagster_home: dg.DagsterInstance
) -> None:
    """The job in a process of its own: a server more, which the other does not notice; then none.

    The heartbeat says which version of the list is followed.
    """
    with Simulator(Options(servers=(STREAMING, OTHER), toots=0, start="control")) as simulator:
        first, second = (parse_server(server.base_url) for server in simulator.servers)

        def follows(version: int) -> bool:
            return listener_runs(dagster_home, DEFAULT_GROUP)[0].assignment_version == version

        save_assignment(dagster_home, DEFAULT_GROUP, Assignment((first,), 1))
        job = ["-m", "dagster", "job", "execute", "-m", "mastodon_pipeline.listening.definitions"]
        with a_process(simulator.environment, *job, "-j", "mastodon_listener") as process:
            streams = [server.streams for server in simulator.servers]
            simulator.wait_until(lambda: len(streams[0]) > 0, 60)
            wait_until(lambda: follows(1), "a heartbeat")
            [run] = listener_runs(dagster_home, DEFAULT_GROUP)
            assert run.state == "started"
            assert time.time() - (run.heartbeat_at or 0) < 10
            assert len(streams[1]) == 0
            save_assignment(dagster_home, DEFAULT_GROUP, Assignment((first, second), 2))
            published = []
            while not follows(2):
                published.append(simulator.publish(0))
                time.sleep(0.1)
            simulator.wait_until(lambda: len(streams[1]) > 0)
            published.append(simulator.publish(1))
            wait_until(lambda: uris(settings) == Counter(published), "every toot, once", 20)
            assert simulator.asked("streaming", 0) == 1
            [report] = load_reports(dagster_home, [DEFAULT_GROUP])
            assert first in {server.snapshot.server for server in report.servers}
            save_assignment(dagster_home, DEFAULT_GROUP, Assignment((), 3))
            process.wait(30)
    [run] = listener_runs(dagster_home, DEFAULT_GROUP)
    assert run.state == "ended"


def test_a_listener_run_that_is_told_to_end_by_a_signal_is_restarted(
    settings: Settings, dagster_home: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody terminated it in the UI, so it is a failure; what it had read is in Kafka."""
    with Simulator(Options(servers=(STREAMING,), toots=0, start="control")) as simulator:
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        job = ["-m", "dagster", "job", "execute", "-m", "mastodon_pipeline.listening.definitions"]
        with a_process({}, *job, "-j", "mastodon_listener") as process:
            streams = simulator.servers[0].streams
            simulator.wait_until(lambda: len(streams) > 0, 60)
            uri = simulator.publish()
            simulator.wait_until(lambda: len(streams) > 0)
            wait_until(lambda: uri in uris(settings), "the toot", 20)
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        [run] = listener_runs(dagster_home, DEFAULT_GROUP)
        assert run.state == "failed"

        def requested() -> bool:
            context = dg.build_sensor_context(instance=dagster_home)
            return isinstance(listener_supervisor(context), dg.SensorResult)

        wait_until(requested, "the next start", 10)


def test_the_topic_is_observed_with_its_rate(
    settings: Settings, dagster_home: dg.DagsterInstance
) -> None:
    """End offsets, rows and, from the second observation on, records a minute."""
    sink, _ = open_kafka(settings)
    assert observe_mastodon_topic.execute_in_process(instance=dagster_home).success
    for number in range(5):
        record = TootRecord(uri=f"https://a.example/{number}", created_at=1_780_000_000_000)
        sink.send(record, lambda: None)
    sink.close(10)
    assert observe_mastodon_topic.execute_in_process(instance=dagster_home).success
    records = dagster_home.fetch_observations(dg.AssetKey("mastodon_topic"), limit=2).records
    latest = records[0].asset_observation
    assert latest is not None
    assert latest.metadata["end_offset"].value == 5
    assert latest.metadata["dagster/row_count"].value == 5
    per_minute = latest.metadata["records_per_minute"].value
    assert isinstance(per_minute, float)
    assert per_minute > 0
