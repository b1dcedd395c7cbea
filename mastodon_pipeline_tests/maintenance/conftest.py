"""A lake whose sink commits every second, for maintenance to work on."""

from collections.abc import Iterator

import pytest

from infra.native_stack import Stack
from mastodon_pipeline_tests.support.sink_lake import SETTINGS, SinkLake, young_lake


@pytest.fixture(scope="session")
def stack(separate_stack: Stack) -> Stack:
    """A stack whose Connect may be killed."""
    return separate_stack


@pytest.fixture(scope="session")
def sink_lake(stack: Stack) -> Iterator[SinkLake]:
    """Toots of a young hour, landed and counted, by a sink that commits every second."""
    with young_lake(SETTINGS) as lake:
        yield lake
