"""The system in containers with what further Compose files change; as `make containers` runs it."""

import pytest

from mastodon_pipeline_tests.containers.engine import Engine
from mastodon_pipeline_tests.containers.own_services import run_own_services_trial
from mastodon_pipeline_tests.containers.run_containers import run_runs_trial

pytestmark = [pytest.mark.integration, pytest.mark.containers, pytest.mark.timeout(3600)]
IMAGE = "mastodon-pipeline:test"


def test_kafka_and_object_store_of_ones_own_take_the_place_of_the_bundled(engine: Engine) -> None:
    run_own_services_trial(engine, IMAGE)


def test_runs_in_containers_of_their_own_survive_their_code_server(engine: Engine) -> None:
    """A listener whose container is killed is followed by another; no toot is lost."""
    run_runs_trial(engine, IMAGE)
