"""A lake whose sink commits every second, for maintenance to work on."""

from collections.abc import Iterator

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.kafka import ensure_topics, set_topic_config
from mastodon_pipeline.landing.connect_rest import ConnectRest
from mastodon_pipeline.landing.connector import apply_connector_config
from mastodon_pipeline.landing.connector_config import connector_config
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.support.sink_lake import SETTINGS, YOUNG, SinkLake


@pytest.fixture(scope="session")
def stack(separate_stack: Stack) -> Stack:
    """A stack whose Connect may be killed."""
    return separate_stack


@pytest.fixture(scope="session")
def sink_lake(stack: Stack) -> Iterator[SinkLake]:
    """Toots of a young hour, landed and counted, by a sink that commits every second."""
    settings = load_settings(**SETTINGS)
    ensure_topics(settings, listening_topics(settings))
    often = {"iceberg.control.commit.interval-ms": "1000"}
    apply_connector_config(settings, str, wanted=connector_config(settings) | often)
    # So that the days of arrival are those that a test says, and not all today.
    set_topic_config(settings, settings.kafka_topic, {"message.timestamp.type": "CreateTime"})
    lake = SinkLake(settings)
    lake.land(50, YOUNG)
    lake.build(YOUNG)
    yield lake
    with ConnectRest.of(settings) as connect:
        connect.delete(settings.connector_name)
