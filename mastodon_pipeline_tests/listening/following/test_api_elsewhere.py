"""A server that is named by the domain of its handles: the message names where its API is."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.simulator.simulator import Simulator
from mastodon_pipeline.cli.main import cli
from mastodon_pipeline.cli.servers import table
from mastodon_pipeline.listening.following.trial import try_server
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.simulated_servers import POLLED, quiet, simulator_settings

pytestmark = pytest.mark.thorough

DOMAIN = replace(POLLED, domain="example.com")
SOCIAL = replace(POLLED, domain="social.example.com")


def serve_elsewhere(simulator: Simulator, how: str, status: int) -> str:
    """Let the first server be the domain of the second one's accounts; return the latter's URL."""
    domain, social = simulator.servers
    policy = replace(SOCIAL, domain=f"127.0.0.1:{domain.port}")
    simulator.call(lambda: setattr(social, "policy", policy))
    simulator.fault("elsewhere", target=social.base_url, text=how, status=status, seconds=3600)
    return social.base_url


@pytest.mark.parametrize(
    ("how", "status"),
    [
        ("host-meta", 404),
        ("host-meta", 200),
        ("nodeinfo", 404),
        ("redirect", 301),
        ("redirect webfinger", 200),
    ],
)
def test_domain_of_handles_is_parked_with_the_address_of_its_api(
    how: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a well-known document or a redirect; and nothing is followed there. Shows G6 and G8."""
    with Simulator(quiet(DOMAIN, SOCIAL)) as simulator:
        address = serve_elsewhere(simulator, how, status)
        with listening_to(simulator, monkeypatch, only=[0]) as scene:
            scene.wait_for("parked", f"that of its accounts is at {address}")
            assert scene.requests("timeline", 1) == 0
        trial = try_server(
            parse_server(simulator.servers[0].base_url),
            simulator_settings(simulator, monkeypatch),
            None,
        )
        assert address in table([trial])[1]


def test_address_that_does_not_describe_itself_as_the_domains_is_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anybody can write a document. Shows G8."""
    with Simulator(quiet(DOMAIN, SOCIAL)) as simulator:
        target = simulator.servers[1].base_url
        simulator.fault("elsewhere", target=target, text="host-meta", status=404, seconds=3600)
        with listening_to(simulator, monkeypatch, only=[0]) as scene:
            reason = scene.wait_for("parked", "404")
        assert target not in reason


def test_address_is_judged_like_that_of_any_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A private one gets no request. Shows G8."""
    with Simulator(quiet(DOMAIN, SOCIAL)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        serve_elsewhere(simulator, "redirect", 301)
        public = settings.model_copy(update={"mastodon_allow_private_addresses": False})
        trial = try_server(parse_server(simulator.servers[0].base_url), public, None)
        assert "is not https" in trial.reason
        assert simulator.asked(server=1) == 0


def test_login_at_the_domain_of_handles_names_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Simulator(quiet(DOMAIN, SOCIAL)) as simulator:
        simulator_settings(simulator, monkeypatch)
        address = serve_elsewhere(simulator, "host-meta", 404)
        arguments = ["login", simulator.servers[0].base_url, "--env-file", str(tmp_path / "env")]
        result = CliRunner().invoke(cli, arguments)
    assert result.exit_code == 1
    assert address in result.stderr
