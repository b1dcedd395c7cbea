"""Chaos that ends: two minutes of it."""

import subprocess

import pytest

from mastodon_pipeline_tests.support.processes import python_process

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

SEED = "1269"
"""Each program killed or stopped, all disks full, and foreign files in the lake. Without the faults
that take longest to recover: Kafka wiped, the bucket deleted, everything killed."""
SECONDS = 1740.0


@pytest.mark.timeout(1800)
def test_two_minutes_of_faults_lose_no_toot_and_count_none_twice() -> None:
    """The tables equal what the servers published, whatever is killed, stopped or full.

    `make chaos` does the same for longer. Shows G1, G2, G4, G10, G11 and G12.
    """
    arguments = ("-m", "mastodon_pipeline_tests.chaos", "--seed", SEED, "--minutes", "2")
    with python_process(*arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as chaos:
        try:
            output, _ = chaos.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            chaos.terminate()  # it stops its stack
            output, _ = chaos.communicate(timeout=300)
    assert chaos.returncode == 0, output
    assert " lost=0 duplicated=0 unnoticed=0 " in output
    assert " ledger=green " in output
