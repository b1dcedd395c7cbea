"""Reading robots.txt, as RFC 9309 has it."""

import time

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.errors import Refused, RobotsUnreadable, UnsafeAddress
from mastodon_pipeline.listening.client.robots import (
    API_PATHS,
    MAX_PARSED_BYTES,
    HostRules,
    read_rules,
    rules_of,
)
from mastodon_pipeline.listening.client.session import ServerSession
from mastodon_pipeline_tests.support.simulated_servers import POLLED, quiet

HOST = "https://a.example"
MASTODON = """# See http://www.robotstxt.org/robotstxt.html
User-agent: GPTBot
Disallow: /

User-agent: *
Disallow: /media_proxy/
Disallow: /interact/
"""
"""What Mastodon 4.5 serves."""


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (MASTODON, False),
        ("", False),
        ("<!doctype html><title>Mastodon</title>", False),
        ("User-agent: *\nDisallow: /", True),
        ("\ufeffUser-agent: *\r\nDisallow: /\r\n", True),
        ("User-Agent: *\nDisallow: /api/\nAllow: /api/v1/", True),
        ("User-agent: *\nDisallow: /*?", True),
        ("User-agent: *\nDisallow: /api/v1/timelines/", True),
        ("User-agent: *\nDisallow: /api/v1/statuses", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: mastodon-pipeline\nDisallow:", False),
        ("User-agent: *\nDisallow: /\nUser-agent: Mastodon-Pipeline/1.0\nAllow: /", False),
        ("User-agent: *\nDisallow: /\n\nUser-agent: mastodon\nAllow: /", True),
        ("User-agent: mastodon_pipeline\nDisallow: /", True),
        ("User-agent: GPTBot\nUser-agent: mastodon-pipeline\nDisallow: /", True),
        ("User-agent: pipeline\nDisallow: /", False),
    ],
)
def test_group_that_concerns_us_counts(text: str, refused: bool) -> None:
    """Ours by its whole name, else the one for everybody. Shows P5."""
    rules = rules_of(text.encode(), HOST)
    assert bool(rules.refusal(API_PATHS)) is refused


def test_refusal_names_the_host_the_path_and_what_to_do() -> None:
    refusal = rules_of(b"User-agent: *\nDisallow: /api/v1/timelines", HOST).refusal(API_PATHS)
    for part in ("a.example", "/api/v1/timelines/public", "User-agent mastodon-pipeline"):
        assert part in refusal


def test_what_follows_the_first_half_megabyte_is_not_read() -> None:
    rule = b"\nUser-agent: *\nDisallow: /\n"
    assert rules_of(rule.rjust(MAX_PARSED_BYTES, b"#"), HOST).refused
    assert not rules_of(b"#" * MAX_PARSED_BYTES + rule, HOST).refused


@pytest.mark.thorough
def test_file_with_thousands_of_robots_and_rules_costs_little() -> None:
    """Each rule times each robot would be 200 million. Shows G6."""
    robots = "".join(f"User-agent: bot{n}\n" for n in range(14_000))
    rules = "".join(f"Disallow: /{n}*a*b*c$\n" for n in range(14_000))
    began = time.process_time()
    assert not rules_of(f"{robots}{rules}".encode(), HOST).refused
    assert time.process_time() - began < 10


def test_crawl_delay_is_read() -> None:
    assert rules_of(b"User-agent: *\nCrawl-delay: 10\n", HOST).crawl_delay_seconds == 10
    assert rules_of(b"User-agent: *\nCrawl-delay: 1e9\n", HOST).crawl_delay_seconds == 3600


def test_rules_are_read_again_after_a_day_and_a_refusal_after_an_hour() -> None:
    def aged(hours: float, *refused: str) -> HostRules:
        return HostRules(HOST, int((time.time() - hours * 3600) * 1000), refused)

    assert not aged(23.9).expired
    assert aged(24.1).expired
    assert not aged(0.9, "/api/v2/instance").expired
    assert aged(1.1, "/api/v2/instance").expired
    assert aged(-1).expired  # A clock that was set back.


def read(base_url: str) -> HostRules:
    with ServerSession("a test", allow_private_addresses=True) as session:
        return read_rules(base_url, session, 5)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_missing_or_forbidden_file_allows_everything(status: int) -> None:
    """RFC 9309, section 2.3.1.3."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", endpoint="robots", status=status, seconds=3600)
        assert not read(simulator.servers[0].base_url).refused


@pytest.mark.parametrize("status", [500, 503])
def test_server_error_refuses_everything(status: int) -> None:
    """RFC 9309, section 2.3.1.4. Shows P5."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", endpoint="robots", status=status, seconds=3600)
        with pytest.raises(RobotsUnreadable, match=str(status)):
            read(simulator.servers[0].base_url)


@pytest.mark.parametrize("kind", ["drop", "hang", "bomb"])
def test_unreadable_file_refuses_everything(kind: str) -> None:
    """Shows P5."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault(kind, endpoint="robots", seconds=3600)
        with (
            ServerSession("a test", allow_private_addresses=True) as session,
            pytest.raises(RobotsUnreadable),
        ):
            read_rules(simulator.servers[0].base_url, session, 0.5)


def test_being_asked_to_slow_down_is_no_permission() -> None:
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", endpoint="robots", status=429, seconds=3600)
        with pytest.raises(Refused, match="429"):
            read(simulator.servers[0].base_url)


def test_redirect_to_another_host_leads_to_the_rules() -> None:
    """RFC 9309, section 2.3.1.2: of the host that was asked."""
    other = ServerPolicy("other.example", robots="User-agent: *\nDisallow: /")
    with Simulator(quiet(POLLED, other)) as simulator:
        first, target = (server.base_url for server in simulator.servers)
        simulator.fault("redirect", endpoint="robots", target=target, seconds=3600)
        rules = read(first)
        assert rules.refusal(API_PATHS)
        assert rules.base_url == first


def test_private_address_is_not_asked_for_its_rules() -> None:
    """Shows G8."""
    with Simulator(quiet(POLLED)) as simulator:
        with ServerSession("a test") as session, pytest.raises(UnsafeAddress):
            read_rules(simulator.servers[0].base_url, session, 5)
        assert simulator.asked("robots") == 0
