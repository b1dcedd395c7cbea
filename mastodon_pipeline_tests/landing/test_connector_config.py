"""The sink's configuration: the reviewed file with the settings filled in, and no secret."""

import json
from typing import Literal

import pytest

from mastodon_pipeline.landing.catalog import catalog_address, sink_variables
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.settings import load_settings

Sink = Literal["iceberg", "s3"]
SINKS: list[Sink] = ["iceberg", "s3"]


@pytest.mark.parametrize("sink", SINKS)
def test_settings_reach_the_config(sink: Sink) -> None:
    """Topic, dead letters, bucket, addresses and names."""
    config = connector_config(
        load_settings(
            sink=sink,
            kafka_topic="other-topic",
            s3_bucket="other-bucket",
            connector_name="other-sink",
            connect_registry_url="http://registry:8080/apis/registry/v2",
            s3_endpoint="http://127.0.0.1:9000",
            connect_s3_endpoint="http://minio:9000",
            iceberg_catalog_uri="jdbc:postgresql://db/lake",
            iceberg_table="other.raw",
            aws_region="eu-central-1",
            sink_tasks=3,
            sink_commit_seconds=60,
        )
    )
    assert config["name"] == "other-sink"
    assert config["topics"] == "other-topic"
    assert config["tasks.max"] == "3"
    assert config["errors.deadletterqueue.topic.name"] == "other-topic-dlq"
    registry = config["value.converter.apicurio.registry.url"]
    assert registry == "http://registry:8080/apis/registry/v2"
    if sink == "iceberg":
        assert config["iceberg.tables"] == "other.raw"
        assert config["iceberg.control.commit.interval-ms"] == "60000"
        assert config["iceberg.catalog.uri"] == "jdbc:postgresql://db/lake"
        assert config["iceberg.catalog.s3.endpoint"] == "http://minio:9000"
        assert config["iceberg.catalog.client.region"] == "eu-central-1"
        data_path = config["iceberg.tables.auto-create-props.write.data.path"]
        assert data_path == "s3://other-bucket/topics/other-topic"
    else:
        assert config["aws.s3.bucket.name"] == "other-bucket"
        assert config["aws.s3.endpoint"] == "http://minio:9000"
        assert config["aws.s3.region"] == "eu-central-1"


@pytest.mark.parametrize("sink", SINKS)
def test_no_placeholder_is_left(sink: Sink) -> None:
    """`@{...}` never reaches Connect; its own `$Value` and `{{topic}}` do, unchanged."""
    config = connector_config(load_settings(sink=sink))
    assert not [key for key, value in config.items() if "@{" in value]
    assert config["transforms.off.type"].endswith("InsertField$Value")
    if sink == "s3":
        assert config["file.name.template"].startswith("topics/{{topic}}/kafka_timestamp_day={{")


@pytest.mark.parametrize("sink", SINKS)
def test_no_secret_is_in_the_config(sink: Sink) -> None:
    """Connect's REST API shows the whole config to anyone who can reach it. Shows G20."""
    text = json.dumps(
        connector_config(
            load_settings(
                sink=sink,
                aws_access_key_id="the-access-key",
                aws_secret_access_key="the-secret-key",
                kafka_sasl_password="the-password",
            )
        )
    )
    for secret in ("the-access-key", "the-secret-key", "the-password"):
        assert secret not in text


@pytest.mark.parametrize("sink", SINKS)
def test_both_sinks_add_the_kafka_coordinates_and_drop_tombstones(sink: Sink) -> None:
    """Readers dedupe on partition and offset, and a null value fails a Parquet sink."""
    config = connector_config(load_settings(sink=sink))
    assert config["transforms"].split(",")[0] == "tombstones"
    inserted = {value for key, value in config.items() if key.endswith(".field")}
    assert inserted == {"kafka_partition", "kafka_offset", "kafka_timestamp"}
    names = {field.name for field in record_fields()} | inserted
    assert not any(name.startswith("_") for name in names), "Iceberg reserves some, Spark obeys"
    assert config["errors.tolerance"] == "all"
    assert config["errors.deadletterqueue.context.headers.enable"] == "true"


@pytest.mark.parametrize("sink", SINKS)
def test_records_are_filed_by_arrival_and_a_killed_worker_is_missed_soon(sink: Sink) -> None:
    """Nothing that a stranger claims decides how many files and writers a sink has."""
    config = connector_config(load_settings(sink=sink))
    assert "created_at" not in str(config)
    if sink == "iceberg":
        assert config["iceberg.tables.default-partition-by"] == "day(kafka_timestamp)"
    else:
        day = "{{timestamp:unit=yyyy}}-{{timestamp:unit=MM}}-{{timestamp:unit=dd}}"
        assert config["file.name.template"].split("/")[2] == f"kafka_timestamp_day={day}"
        assert config["file.name.timestamp.source"] == "event"
    assert config["consumer.override.session.timeout.ms"] == "10000"
    assert config["consumer.override.heartbeat.interval.ms"] == "3000"


def test_catalog_in_postgresql_is_one_setting_for_the_pipeline_and_the_sink() -> None:
    """The sink's configuration names the password's variable, which its worker has. Shows G20."""
    own = "postgresql://me:p%40ss%2Fw@db.example:5433/lake?sslmode=require"
    settings = load_settings(lake_catalog_uri=own)
    config = connector_config(settings)
    uri = config["iceberg.catalog.uri"]
    assert uri.startswith("jdbc:postgresql://db.example:5433/lake?sslmode=require&connectTimeout=")
    assert config["iceberg.catalog.jdbc.user"] == "me"
    assert config["iceberg.catalog.jdbc.password"] == "${env:LAKE_CATALOG_PASSWORD}"
    assert sink_variables(settings) == {"LAKE_CATALOG_PASSWORD": "p@ss/w"}
    assert "ss/w" not in json.dumps(config)


def test_sink_may_reach_the_catalog_at_another_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """User and password are apart from the address, which the sink's errors quote. Shows G20."""
    monkeypatch.setenv("CATALOG_PASSWORD", "sesame")
    settings = load_settings(
        lake_catalog_uri="postgresql://me:secret@db.example/lake",
        iceberg_catalog_uri="jdbc:postgresql://db.internal/lake"
        "?user=a%40b&sslmode=require&password=${env:CATALOG_PASSWORD}",
    )
    config = connector_config(settings)
    assert config["iceberg.catalog.uri"] == "jdbc:postgresql://db.internal/lake?sslmode=require"
    assert config["iceberg.catalog.jdbc.user"] == "a@b"
    assert config["iceberg.catalog.jdbc.password"] == "${env:CATALOG_PASSWORD}"
    assert sink_variables(settings) == {"CATALOG_PASSWORD": "sesame"}
    assert catalog_address(settings).host == "db.example"


def test_sqlite_catalog_needs_no_variables() -> None:
    settings = load_settings()
    assert connector_config(settings)["iceberg.catalog.uri"] == settings.iceberg_catalog_uri
    assert sink_variables(settings) == {}


@pytest.mark.parametrize(
    ("tasks", "commit_seconds", "timeout_ms"),
    [(1, 10, "30000"), (2, 10, "5000"), (2, 1, "2000"), (8, 3600, "30000")],
)
def test_commit_of_several_tasks_does_not_wait_long_for_idle_ones(
    tasks: int, commit_seconds: int, timeout_ms: str
) -> None:
    """One that has had no record yet never answers, and the next round waits for this one."""
    config = connector_config(load_settings(sink_tasks=tasks, sink_commit_seconds=commit_seconds))
    assert config["iceberg.control.commit.timeout-ms"] == timeout_ms
