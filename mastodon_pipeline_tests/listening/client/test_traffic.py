"""Requests and bytes an hour of a host."""

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.client.traffic import Traffic
from mastodon_pipeline_tests.support.scene import listening_to
from mastodon_pipeline_tests.support.simulated_servers import POLLED, STREAMED, quiet
from mastodon_pipeline_tests.support.waiting import wait_until


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_rates_are_those_of_the_last_hour() -> None:
    """A burst long ago does not count. Shows G7."""
    clock = Clock()
    traffic = Traffic(clock)
    for minute in range(3 * 60):
        clock.now += 60
        for _ in range(100 if minute < 60 else 2):
            traffic.add_response(500, {})
        traffic.per_hour()
    requests, received = traffic.per_hour()
    assert requests == pytest.approx(120, rel=0.05)
    assert received == pytest.approx(60_000, rel=0.05)


def test_first_requests_are_no_rush() -> None:
    """Ten in the first second are 600 an hour, not 36,000."""
    clock = Clock()
    traffic = Traffic(clock)
    clock.now += 1
    for _ in range(10):
        traffic.add_response(0, {"Content-Length": "100"})
    assert traffic.per_hour() == (600, 60_000)


@pytest.mark.parametrize("length", ["", "-5", "9" * 5000, "\u0665", "1e3"])
def test_length_that_is_none_is_not_believed(length: str) -> None:
    traffic = Traffic()
    traffic.add_response(7, {"Content-Length": length})
    assert traffic.received_bytes == 7


def test_share_of_the_rate_limit_is_what_the_host_states() -> None:
    """Shows G7."""
    budget = RateBudget()
    assert budget.used is None
    budget.observe(200, {"X-RateLimit-Limit": "300", "X-RateLimit-Remaining": "225"})
    assert budget.used == 0.25
    budget.observe(200, {"X-RateLimit-Limit": "0", "X-RateLimit-Remaining": "x"})
    assert budget.used == 0.25


@pytest.mark.parametrize("policy", [STREAMED, POLLED], ids=["streamed", "polled"])
def test_every_request_to_a_host_is_counted(
    monkeypatch: pytest.MonkeyPatch, policy: ServerPolicy
) -> None:
    """Of its description, robots.txt, timeline and stream, by all of its feeds. Shows G7."""
    with (
        Simulator(quiet(policy)) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("streaming" if policy is STREAMED else "polling")
        scene.receive_toot()
        [statistics] = scene.listener.statistics
        traffic = statistics.traffic

        def agrees() -> bool:
            return traffic.requests == simulator.asked() + simulator.asked("robots")

        wait_until(agrees, lambda: f"{traffic.requests} of {simulator.asked()}")
        snapshot = statistics.snapshot()
        assert snapshot.bytes_per_hour > 1000
        assert snapshot.rate_budget_used is not None
        assert "requests and" in snapshot.line()
