"""The engine of the containers' tests."""

import pytest

from mastodon_pipeline_tests.containers.availability import (
    NoEngine,
    find_engine,
    require_containers,
)
from mastodon_pipeline_tests.containers.engine import Engine


@pytest.fixture
def engine() -> Engine:
    """Podman or Docker; without, the test is skipped and says why."""
    try:
        engine = find_engine()
        require_containers(engine)
        return engine
    except NoEngine as error:
        pytest.skip(str(error))
