"""Chaos that ends: two minutes of it."""

import pytest

from mastodon_pipeline_tests.chaos.chaos import run_chaos

pytestmark = pytest.mark.integration

SEED = 1


@pytest.mark.timeout(900)
def test_two_minutes_of_faults_lose_no_toot_and_count_none_twice() -> None:
    """The tables equal what the servers published, whatever is killed, stopped, full or wiped.

    `make chaos` does the same for longer. Shows G1, G4, G10, G11 and G12.
    """
    assert run_chaos(SEED, seconds=120)
