"""A scripted Kafka Connect, and a sink on the real one: a thousand toots, landed once a session."""

from collections.abc import Iterator

import dagster as dg
import pytest

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.landing_sink import (
    COUNT,
    ENVIRONMENT,
    FIRST,
    HOURS,
    wait_for_sink,
)
from mastodon_pipeline_tests.support.producing import produce, produce_bytes, toots
from mastodon_pipeline_tests.support.scripted_connect import ScriptedConnect, scripted_connect


@pytest.fixture
def connect() -> Iterator[ScriptedConnect]:
    """A scripted Kafka Connect on a free loopback port."""
    with scripted_connect() as connect:
        yield connect


@pytest.fixture
def settings(connect: ScriptedConnect) -> Settings:
    """Settings that reach the scripted Connect, and nothing else."""
    return load_settings(
        kafka_connect_url=connect.url,
        kafka_bootstrap_servers="127.0.0.1:1",
        s3_endpoint="http://127.0.0.1:1",
        aws_access_key_id="an-access-key",
        aws_secret_access_key="a-secret-key",
    )


@pytest.fixture(scope="session")
def sink(stack: Stack) -> Iterator[Settings]:
    """Settings of a topic, a bucket and a connector that only these tests use."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        settings = load_settings()
    yield settings
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)


@pytest.fixture
def sink_environment(sink: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink's names in the environment, where Dagster's jobs read them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def landed(sink: Settings) -> int:
    """A connector created by the job, and 1000 toots of four hours landed; their number.

    The first record of the topic is a tombstone, which can neither create a table nor land in one.
    """
    ensure_topics(sink, listening_topics(sink))
    produce_bytes(sink, None, partition=0)
    produce(sink, toots(COUNT, FIRST, HOURS))
    with pytest.MonkeyPatch.context() as environment, dg.DagsterInstance.ephemeral() as instance:
        for name, value in ENVIRONMENT.items():
            environment.setenv(name, value)
        assert kafka_connect_config.execute_in_process(instance=instance).success
    wait_for_sink(sink)
    return COUNT


@pytest.fixture
def lake(sink: Settings) -> Iterator[Lake]:
    """The lake that the sink writes to."""
    with open_lake(sink) as lake:
        yield lake
