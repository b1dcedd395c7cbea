"""The schema registry is away, or has lost its schemas: good records land all the same."""

import os
import shutil
import signal
import time
from collections.abc import Iterator

import pytest

from infra.native_stack import Stack
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.landing.completeness import landing_completeness
from mastodon_pipeline.landing.dead_letters import read_sink_letters
from mastodon_pipeline.listening.topic.registry import register
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.landing_sink import (
    FIRST,
    HOURS,
    land_toots,
    landing_sink,
    wait_for_sink,
)
from mastodon_pipeline_tests.support.producing import produce, toots
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [
    pytest.mark.integration,
    pytest.mark.own_stack,
    pytest.mark.usefixtures("sink_environment"),
]

COUNT = 50
CACHE_SECONDS = 30.0
"""How long the converter uses a schema before it asks for it again."""
AWAY_SECONDS = 10.0
"""Longer than a Connect that waits for nothing takes to start and read."""


@pytest.fixture(scope="module")
def stack(separate_stack: Stack) -> Stack:
    """A stack whose programs may be stopped."""
    return separate_stack


@pytest.fixture(scope="module")
def sink(stack: Stack) -> Iterator[Settings]:
    with landing_sink() as settings:
        yield settings


@pytest.fixture(scope="module")
def landed(sink: Settings) -> int:
    return land_toots(sink)


@pytest.fixture
def letters_before(sink: Settings, landed: int) -> int:
    """The open dead letters that other tests left."""
    wait_for_sink(sink)
    return len(read_sink_letters(sink).unsettled)


def wait_for_landing(sink: Settings, lake: Lake, letters_before: int) -> None:
    """Wait until the sink has committed everything; then all of it has to have landed."""
    wait_for_sink(sink)
    assert len(read_sink_letters(sink).unsettled) == letters_before
    assert landing_completeness(sink, lake).missing == 0


def test_sink_outlives_a_registry_that_is_away_for_longer_than_its_cache(
    stack: Stack, sink: Settings, lake: Lake, letters_before: int
) -> None:
    """The converter goes on with the schemas that it has. Shows G10."""
    schema_id = register(sink)
    produce(sink, toots(COUNT, FIRST, HOURS), schema_id)
    wait_for_sink(sink)
    stack.supervisor.stop("registry")
    try:
        time.sleep(CACHE_SECONDS + 1)
        produce(sink, toots(COUNT, FIRST, HOURS), schema_id)
        wait_for_sink(sink)
    finally:
        stack.up()
    wait_for_landing(sink, lake, letters_before)


def test_connect_that_is_restarted_while_the_registry_is_away_waits_for_it(
    stack: Stack, sink: Settings, lake: Lake, letters_before: int
) -> None:
    """Killed, as supervisord restarts it: it starts once the registry answers. Shows G10."""
    schema_id = register(sink)
    stack.supervisor.stop("registry")
    kill_connect(stack)
    produce(sink, toots(COUNT, FIRST, HOURS), schema_id)
    time.sleep(AWAY_SECONDS)
    stack.up()
    wait_for_landing(sink, lake, letters_before)


def test_registry_that_lost_its_schemas_has_ours_again_before_connect_reads(
    stack: Stack, sink: Settings, lake: Lake, letters_before: int
) -> None:
    """Its file is wiped, and Connect starts with an empty cache. Shows G10."""
    stack.supervisor.stop("registry")
    shutil.rmtree(stack.data / "registry")
    (stack.data / "registry").mkdir()
    kill_connect(stack)
    stack.up()
    produce(sink, toots(COUNT, FIRST, HOURS))
    wait_for_landing(sink, lake, letters_before)


def kill_connect(stack: Stack) -> None:
    """Kill Connect, and wait until supervisord has started it again."""

    def pid() -> int:
        return next((program.pid for program in stack.status() if program.name == "connect"), 0)

    killed = pid()
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: pid() not in (0, killed), "Connect is started again")
