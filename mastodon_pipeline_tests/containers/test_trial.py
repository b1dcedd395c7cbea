"""The system in containers, built, run, killed and started again."""

import pytest

from mastodon_pipeline_tests.containers.engine import Engine
from mastodon_pipeline_tests.containers.trial import run_trial

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]


@pytest.mark.timeout(5400)
def test_killed_and_recreated_containers_lose_no_toot_and_count_none_twice(engine: Engine) -> None:
    """Each is killed, and all are deleted. Shows G10."""
    run_trial(engine, "mastodon-pipeline:test")
