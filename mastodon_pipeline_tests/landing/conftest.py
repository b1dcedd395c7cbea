"""A scripted Kafka Connect, and a sink on the real one: a thousand toots, landed once a session."""

from collections.abc import Iterator

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.lake import Lake, open_lake
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline_tests.support.landing_sink import ENVIRONMENT, land_toots, landing_sink
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
    with landing_sink() as settings:
        yield settings


@pytest.fixture
def sink_environment(sink: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sink's names in the environment, where Dagster's jobs read them."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)


@pytest.fixture(scope="session")
def landed(sink: Settings) -> int:
    """A connector created by the job, and 1000 toots of four hours landed; their number."""
    return land_toots(sink)


@pytest.fixture
def lake(sink: Settings) -> Iterator[Lake]:
    """The lake that the sink writes to."""
    with open_lake(sink) as lake:
        yield lake
