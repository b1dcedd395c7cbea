"""One server of fifty fails in every way; the other forty-nine lose nothing.

In every way that the simulator knows, and by exceptions in our own code wherever it waits. Whom it
meets, and how, is drawn by Hypothesis from a fixed seed.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from infra.simulator.faults import ENDPOINTS, MALFORMED, ODD, REQUEST_FAULTS
from infra.simulator.instance import gotosocial
from infra.simulator.limits import Limits, Rate
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.statistics import LISTENING_STATES
from mastodon_pipeline_tests.listening.following.sabotage import Saboteur
from mastodon_pipeline_tests.support.scene import FAST, Scene, duplicates, listening_to
from mastodon_pipeline_tests.support.simulated_servers import (
    POLLED,
    STREAMED,
    quiet,
    simulator_settings,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

SERVERS = 50
KINDS = (STREAMED, STREAMED, STREAMED, POLLED, replace(gotosocial("x"), thump_seconds=0.1))
TIMINGS = replace(
    FAST,
    request_seconds=2.0,
    silence_seconds=3.0,
    parked_seconds=0.5,
    fresh_seconds=1.0,
    info_max_age_seconds=2.0,
    gap_refusal_seconds=60.0,
)
"""Instance info is fetched often, too, since that may fail as well."""
ENOUGH = Rate(1_000_000, 300)
UNLIMITED = Limits(ENOUGH, ENOUGH, ENOUGH)
EXAMPLES = dict(
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),  # Each example depends on the listener's state: no shrinking.
)

STATUSES = (200, 204, 301, 400, 401, 403, 404, 410, 418, 422, 429, 500, 503)
TEXTS = ("", "[]", "{}", "null", '{"error": "no"}', "[" * 9999, "redirect", "host-meta")
request_faults = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(sorted(REQUEST_FAULTS)),
        "endpoint": st.sampled_from(["", *ENDPOINTS]),
        "status": st.sampled_from(
            [200, 204, 301, 400, 401, 403, 404, 410, 418, 422, 429, 500, 503]
        ),
        "reset": st.sampled_from(["none", "iso", "epoch", "retry_after"]),
        "text": st.sampled_from(
            ["", "[]", "{}", "null", '{"error": "no"}', "[" * 9999, "redirect"]
        ),
        "target": st.sampled_from(["", "http://127.0.0.1:9", "https://localhost", "http://[::1"]),
    }
)
stream_faults = st.sampled_from(
    [
        *({"kind": kind} for kind in ("cut", "end", "silence", "unsubscribe", "crlf")),
        {"kind": "restart", "seconds": 0.2},
        {"kind": "pieces", "piece_bytes": 3},
        *({"kind": "event", "name": name} for name in (*MALFORMED, *ODD)),
    ]
)
faults = st.lists(request_faults | stream_faults, min_size=1, max_size=4)
victims = st.integers(0, SERVERS - 1)


@dataclass
class Fifty:
    """A listener that follows fifty servers, one of which may fail."""

    scene: Scene
    saboteur: Saboteur
    published: list[str] = field(default_factory=list)

    @property
    def simulator(self) -> Simulator:
        return self.scene.simulator

    def inject(self, victim: int, fault: dict[str, Any]) -> None:
        details = {"seconds": 60, "reset_seconds": 0.2, "megabytes": 1} | fault
        kind = details.pop("kind")
        self.simulator.fault(kind, victim, **details)

    def lose_nothing_of_the_others(self, victim: int) -> None:
        """Publish on every other server, and wait until all of it is recorded."""
        others = [server for server in range(SERVERS) if server != victim]
        self.published += [self.simulator.publish(server) for server in others]
        self.scene.wait_for_toots(self.published, timeout_seconds=1200)
        assert duplicates(self.scene.sink.uris()) == {}

    def recover(self, victim: int) -> None:
        """End all faults; wait until the victim is followed and its toots are recorded again."""
        self.saboteur.victim = ""
        self.simulator.fault("clear", victim)
        statistics = self.scene.statistics(victim)
        wait_until(
            lambda: statistics.state in LISTENING_STATES,
            lambda: f"{victim} is followed again: {statistics.snapshot().line()}",
        )
        self.scene.receive_toot(victim, timeout_seconds=1200)


@pytest.fixture
def fifty(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fifty]:
    policies = [
        replace(KINDS[number % len(KINDS)], domain=f"server{number}.example", limits=UNLIMITED)
        for number in range(SERVERS)
    ]
    saboteur = Saboteur(monkeypatch)
    with Simulator(quiet(*policies)) as simulator:
        polling = simulator_settings(simulator, monkeypatch).model_copy(
            update={"mastodon_poll_interval_seconds": 0.5}
        )
        with listening_to(simulator, monkeypatch, timings=TIMINGS, settings=polling) as scene:
            for server in range(SERVERS):
                wait_until(lambda s=server: scene.is_followed(s), "all are followed")  # type: ignore[misc]
            yield Fifty(scene, saboteur)


def fail_at_the_servers(fifty: Fifty, examples: int) -> None:
    @seed(11)
    @settings(max_examples=examples, **EXAMPLES)  # type: ignore[arg-type]
    @given(victims, faults)
    def fail(victim: int, injected: list[dict[str, Any]]) -> None:
        for fault in injected:
            fifty.inject(victim, fault)
        fifty.lose_nothing_of_the_others(victim)
        fifty.recover(victim)

    fail()


def fail_at_our_awaits(fifty: Fifty, examples: int) -> None:
    @seed(11)
    @settings(max_examples=examples, **EXAMPLES)  # type: ignore[arg-type]
    @given(victims, st.integers(), st.sampled_from([0.02, 0.2, 0.5, 1.0]), st.booleans())
    def fail(victim: int, script: int, share: float, cut: bool) -> None:
        saboteur = fifty.saboteur
        saboteur.random.seed(script)
        saboteur.share, saboteur.victim, thrown = (
            share,
            fifty.scene.simulator.servers[victim].base_url,
            saboteur.thrown,
        )
        if cut:
            fifty.inject(victim, {"kind": "cut"})
        fifty.simulator.publish(victim)
        fifty.lose_nothing_of_the_others(victim)
        if share == 1.0:
            line = fifty.scene.statistics(victim).snapshot().line
            wait_until(lambda: saboteur.thrown > thrown, lambda: f"no exception: {line()}")
        fifty.recover(victim)

    fail()


def test_server_that_fails_costs_the_other_forty_nine_nothing(fifty: Fifty) -> None:
    """Shows G6."""
    fail_at_the_servers(fifty, 10)


def test_defect_that_one_server_brings_to_light_costs_the_others_nothing(fifty: Fifty) -> None:
    """An exception wherever its follower waits. Shows G6."""
    fail_at_our_awaits(fifty, 10)


@pytest.mark.exhaustive
def test_many_failures_of_one_of_fifty_cost_the_others_nothing(fifty: Fifty) -> None:
    fail_at_the_servers(fifty, 60)
    fail_at_our_awaits(fifty, 60)
