"""The system in containers, built, run, killed and started again."""

import pytest

from mastodon_pipeline_tests.containers.availability import (
    NoEngine,
    find_engine,
    require_containers,
)
from mastodon_pipeline_tests.containers.engine import Engine
from mastodon_pipeline_tests.containers.own_services import run_own_services_trial
from mastodon_pipeline_tests.containers.run_containers import run_runs_trial
from mastodon_pipeline_tests.containers.trial import run_trial

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]
IMAGE = "mastodon-pipeline:test"


@pytest.fixture
def engine() -> Engine:
    """Podman or Docker; without, the test is skipped and says why."""
    try:
        engine = find_engine()
        require_containers(engine)
        return engine
    except NoEngine as error:
        pytest.skip(str(error))


@pytest.mark.timeout(5400)
def test_killed_and_recreated_containers_lose_no_toot_and_count_none_twice(engine: Engine) -> None:
    """Each is killed, and all are deleted. Shows G10."""
    run_trial(engine, IMAGE)


@pytest.mark.timeout(3600)
def test_kafka_and_object_store_of_ones_own_take_the_place_of_the_bundled(engine: Engine) -> None:
    run_own_services_trial(engine, IMAGE)


@pytest.mark.timeout(3600)
def test_runs_in_containers_of_their_own_survive_their_code_server(engine: Engine) -> None:
    """A listener whose container is killed is followed by another; no toot is lost."""
    run_runs_trial(engine, IMAGE)
