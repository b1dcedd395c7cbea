"""`mastodon-pipeline consume`, against a real Kafka and schema registry."""

import io
import json
import signal
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fastavro import parse_schema, schemaless_writer

from infra.native_stack import Stack
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.listening.records.record import TootRecord
from mastodon_pipeline.listening.records.sink import DeadLetter
from mastodon_pipeline.listening.topic.encoding import encode
from mastodon_pipeline.listening.topic.opening import open_kafka
from mastodon_pipeline.listening.topic.producer import kafka_producer
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import with_new_topics
from mastodon_pipeline_tests.support.processes import CLI, python_process

pytestmark = pytest.mark.integration
POSTED = 1_780_000_000_250


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "consume")


def consume(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["consume", *arguments])


def send(settings: Settings, *texts: str) -> None:
    sink, _ = open_kafka(settings)
    for number, text in enumerate(texts):
        record = TootRecord(
            uri=f"https://a.example/{number}", created_at=POSTED, mastodon_text=text
        )
        sink.send(record, lambda: None)
    sink.close(10)


def parsed(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def test_records_are_printed_as_json_one_a_line(settings: Settings) -> None:
    """All fields of the schema, times in ISO 8601, and where Kafka keeps the record."""
    texts = ["grüezi", "a \x9b31m b‮c"]
    send(settings, *texts)
    result = consume("--from-beginning", "--limit", "2")
    assert result.exit_code == 0
    assert all(line.isprintable() for line in result.stdout.splitlines()), "nothing steers"
    assert "grüezi" in result.stdout
    records = parsed(result.stdout)
    assert sorted(record["mastodon_text"] for record in records) == sorted(texts)
    assert {record["created_at"] for record in records} == {"2026-05-28T20:26:40.250000Z"}
    assert all(record["kafka_offset"] >= 0 for record in records)


def test_value_that_is_no_record_is_reported_and_skipped(settings: Settings) -> None:
    """Somebody else may have written to the topic."""
    open_kafka(settings)
    producer = kafka_producer(settings)
    ours = register(settings)
    good = encode(TootRecord(uri="https://a.example/1", created_at=POSTED), ours)
    for value in (b"not Avro", good[:5], b"\0\x7f\xff\xff\xff" + good[5:], good):
        producer.produce(settings.kafka_topic, value=value, partition=0)
    producer.flush(10)
    result = consume("--from-beginning", "--limit", "1")
    assert [record["uri"] for record in parsed(result.stdout)] == ["https://a.example/1"]
    reports = [line for line in result.stderr.splitlines() if line.startswith("not decodable")]
    assert [line.split(": ")[1] for line in reports] == [
        f"partition 0 offset {offset}" for offset in range(3)
    ]
    assert reports[2].endswith("the registry has no schema 2147483647")


def test_older_and_newer_records_are_printed_with_the_same_fields(
    settings: Settings,
) -> None:
    """Each is decoded with the schema it was written with. Shows G19."""
    schema = json.loads(schema_text())
    fields = schema["fields"]
    older = schema | {"fields": [f for f in fields if f["name"] not in ("app", "indexable")]}
    newer = schema | {"fields": [{"name": "mood", "type": "string", "default": ""}, *fields]}
    ids = [register(settings, json.dumps(version)) for version in (older, schema, newer)]
    open_kafka(settings)
    producer = kafka_producer(settings)
    for version, schema_id in zip((older, schema, newer), ids, strict=True):
        body = io.BytesIO()
        record = {"uri": f"https://a.example/{schema_id}", "created_at": POSTED, "app": "Web"}
        schemaless_writer(body, parse_schema(version), record | {"mood": "fine", "words": 3})
        value = b"\0" + schema_id.to_bytes(4) + body.getvalue()
        producer.produce(settings.kafka_topic, value=value, partition=0)
    producer.flush(10)
    result = consume("--from-beginning", "--limit", "3")
    assert [(r["uri"], r["app"], r["words"], r["indexable"]) for r in parsed(result.stdout)] == [
        (f"https://a.example/{schema_id}", app, 3, None)
        for schema_id, app in zip(ids, ("", "Web", "Web"), strict=True)
    ]
    assert not any("mood" in record for record in parsed(result.stdout))
    assert len(set(ids)) == 3


def test_dead_letters_are_printed_with_their_reasons(settings: Settings) -> None:
    """Those of listeners, and those of the sink in Kafka Connect's own headers."""
    sink, _ = open_kafka(settings)
    letter = DeadLetter(b'{"id": \xff', "not JSON", "https://a.example", "update", "Undecodable")
    sink.dead_letter(letter, lambda: None)
    sink.close(10)
    producer = kafka_producer(settings)
    connects: Sequence[tuple[str, bytes]] = [
        ("__connect.errors.connector.name", b"mastodon-sink"),
        ("__connect.errors.stage", b"VALUE_CONVERTER"),
        ("__connect.errors.exception.class.name", b"DataException"),
        ("__connect.errors.exception.message", b"unknown schema"),
    ]
    producer.produce(settings.dead_letter_topic, value=b"\0\1", headers=list(connects))
    producer.flush(10)
    result = consume("--dead-letters", "--from-beginning", "--limit", "2")
    names = ("from", "event", "reason", "exception", "payload_bytes", "payload")
    assert [tuple(line[name] for name in names) for line in parsed(result.stdout)] == [
        ("https://a.example", "update", "not JSON", "Undecodable", 8, '{"id": �'),
        ("mastodon-sink", "VALUE_CONVERTER", "unknown schema", "DataException", 2, "\0\1"),
    ]


def test_new_records_are_printed_until_ctrl_c(settings: Settings) -> None:
    """Without those from before; the end is a summary and no traceback."""
    send(settings, "before")
    with python_process(
        *(*CLI, "consume"),
        environment={"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stderr is not None
        assert process.stdout is not None
        assert f"reading {settings.kafka_topic}" in process.stderr.readline()
        send(settings, "after")
        [record] = parsed(process.stdout.readline())
        assert record["mastodon_text"] == "after"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=900)
    assert (process.returncode, out, err) == (0, "", "1 records\n")


def test_missing_topic_or_service_is_one_line_that_names_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A topic that no listener has created yet; a registry or a Kafka that does not answer."""
    result = consume()
    assert result.exit_code == 1
    assert f"has no topic {settings.kafka_topic} yet" in result.stderr
    assert "make up" in result.stderr
    send(settings, "one")
    monkeypatch.setenv("SCHEMA_REGISTRY_URL", "http://127.0.0.1:9")
    result = consume("--from-beginning")
    assert result.exit_code == 1
    assert "http://127.0.0.1:9" in result.stderr.splitlines()[-1]
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9")
    result = consume()
    assert result.exit_code == 1
    assert result.output.startswith("mastodon-pipeline: Kafka at 127.0.0.1:9 ")
    assert len(result.output.splitlines()) == 1
