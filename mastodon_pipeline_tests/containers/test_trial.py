"""The system in containers, built, run, killed and started again."""

import pytest

from mastodon_pipeline_tests.containers.engine import NoEngine, find_engine
from mastodon_pipeline_tests.containers.trial import run_trial

pytestmark = [pytest.mark.integration, pytest.mark.containers]


@pytest.mark.timeout(5400)
def test_killed_and_recreated_containers_lose_no_toot_and_count_none_twice() -> None:
    """As `make containers` does by hand. Shows G10."""
    try:
        engine = find_engine()
        run_trial(engine, "mastodon-pipeline:test")
    except NoEngine as error:
        pytest.skip(str(error))
