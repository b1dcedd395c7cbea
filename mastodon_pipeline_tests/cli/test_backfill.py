"""`mastodon-pipeline backfill` and the job `mastodon_backfill`, into a real Kafka."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import dagster as dg
import pytest
from click.testing import CliRunner

from infra.native_stack import Stack
from infra.simulator.fediverse import Options
from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.listening.jobs import mastodon_backfill
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.kafka_topics import new_toots, with_new_topics
from mastodon_pipeline_tests.support.simulated_servers import POLLED, simulator_settings

TOOTS = 90


@pytest.fixture
def settings(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The stack's settings, with topics that no other test uses."""
    return with_new_topics(monkeypatch, "backfill")


@pytest.fixture
def simulator(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A server that has published for ten days."""
    options = Options(
        (replace(POLLED, domain="past.example"),), TOOTS, 240, speed=math.inf, start="now"
    )
    with Simulator(options) as simulator:
        simulator.wait_until_done()
        for name, value in simulator.environment.items():
            monkeypatch.setenv(name, value)
        simulator_settings(simulator, monkeypatch)
        yield simulator


def test_backfill_brings_a_servers_past_once_and_says_how_far_it_is(
    settings: Settings, simulator: Simulator
) -> None:
    """Again it reads nothing; with an earlier start it goes on. Shows G1."""
    base_url = simulator.servers[0].base_url
    toots = Counter(toot.uri for toot in simulator.truth() if not toot.deleted and toot.listed)
    command = ["backfill", base_url, "--since", "2016-03-01"]
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert f"read back to 2016-03-01 00:00:00 UTC: {sum(toots.values())} toots" in result.stderr
    assert new_toots(settings) == toots
    result = CliRunner().invoke(cli, command)
    assert result.exit_code == 0, result.output
    assert "continuing: read back to" in result.stderr
    assert new_toots(settings) == toots


def test_job_reads_a_servers_past(settings: Settings, simulator: Simulator) -> None:
    config = {"server": simulator.servers[0].base_url, "since": "2016-03-01"}
    result = mastodon_backfill.execute_in_process(
        run_config={"ops": {"read_past": {"config": config}}}
    )
    assert result.success
    assert sum(new_toots(settings).values()) > TOOTS / 2


@pytest.mark.parametrize(
    ("since", "until", "words"),
    [
        ("yesterday", "", "since is 'yesterday'"),
        ("", "", "since is missing"),
        ("2024-01-02", "2024-01-01", "not before its end"),
    ],
)
def test_job_names_what_is_wrong_with_its_config(since: str, until: str, words: str) -> None:
    config = {"server": "one.example", "since": since, "until": until}
    with pytest.raises(dg.Failure, match=words):
        mastodon_backfill.execute_in_process(run_config={"ops": {"read_past": {"config": config}}})
