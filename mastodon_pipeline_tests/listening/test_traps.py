"""What servers and networks do to a listener, one trap a test: it survives, politely, and says why.

Each counts the requests that the server saw: no hot loop, one budget a host.
"""

import time
from dataclasses import replace

import pytest

from mastodon_pipeline_tests.listening.scene import (
    PATIENCE,
    POLLED,
    SOON,
    STREAMED,
    listening_to,
    one_a_case,
    quiet,
    settled,
    suited,
)
from mastodon_pipeline_tests.simulator.faults import Endpoint
from mastodon_pipeline_tests.simulator.instance import ServerPolicy
from mastodon_pipeline_tests.simulator.limits import Limits, Rate
from mastodon_pipeline_tests.simulator.simulator import Simulator

CLOSED = ServerPolicy(
    "closed.example", local_feed="authenticated", remote_feed="authenticated", thump_seconds=0.1
)


# Pace


def test_a_cached_timeline_is_polled_no_more_often_than_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mastodon caches what strangers see, and says for how long."""
    with (
        Simulator(quiet(replace(POLLED, cache_seconds=1.0))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("polling")
        asked = scene.asked("timeline")
        time.sleep(1.1)
        assert 1 <= scene.asked("timeline") - asked <= 2, "although every 0.2 s is configured"
        scene.hears()


# Refusals


def test_a_refusing_server_is_parked_with_its_answer_and_looked_at_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asking again at once would change nothing; much later it may."""
    patience = replace(PATIENCE, parked_seconds=1.5)
    cases: list[tuple[int, Endpoint]] = [
        (status, at) for status in (401, 403, 404, 410, 422) for at in ("instance", "timeline")
    ]
    policies = [suited("timeline", f"{at}{status}") for status, at in cases]
    with Simulator(quiet(*policies)) as simulator:
        faults = [{"status": status, "endpoint": at, **SOON} for status, at in cases]
        servers = one_a_case(simulator, faults)
        with listening_to(simulator, monkeypatch, patience=patience) as scene:
            for server, (status, _) in zip(servers, cases, strict=True):
                scene.wait_for("parked", str(status), server=server)
            asked = [scene.asked(server=server) for server in servers]
            assert max(asked) <= 4, "discovered once, twice where the timeline was not there"
            time.sleep(0.5)
            assert [scene.asked(server=server) for server in servers] == asked, "left alone"
            for server in servers:
                simulator.fault("clear", server)
            for server in servers:
                scene.hears(server)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the feed is public it is polled without it; else parked, naming the variable."""
    with Simulator(quiet(STREAMED, CLOSED)) as simulator:
        for server in (0, 1):
            simulator.fault("answer", server, status=status, endpoint="streaming", seconds=60)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("polling", "token", str(status))
            scene.hears()
            scene.wait_for("parked", "MASTODON_TOKEN_127_0_0_1_", str(status), server=1)
            assert scene.asked("streaming", 0) == scene.asked("streaming", 1) == 1
            assert scene.asked("timeline", 1) == 0
        polls = [seen for seen in simulator.servers[0].requests if seen.endpoint == "timeline"]
        assert polls
        assert not any(seen.token for seen in polls)


@pytest.mark.parametrize(("status", "tries"), [(404, 2), (410, 1)])
def test_a_server_without_event_streams_is_polled(
    status: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 404 a WebSocket is tried first; what is gone (410) is gone for both."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", status=status, endpoint="streaming", seconds=60)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("polling", str(status))
            scene.hears()
            assert (scene.asked("instance"), scene.asked("streaming")) == (1, tries)


def test_only_what_is_public_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one feed is closed, a request that does not say `local=true` is a 422."""
    with Simulator(quiet(POLLED)) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.hears()
        polls = [seen for seen in simulator.servers[0].requests if seen.endpoint == "timeline"]
        assert all("local=true" in seen.path for seen in polls)


# 429


def test_a_long_gap_is_read_within_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pages where two may be asked for in a second: all of it, and hardly a refusal."""
    limits = Limits(paging=Rate(2, 1))
    with (
        Simulator(quiet(replace(STREAMED, limits=limits))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        settled(scene)
        scene.hears()
        simulator.fault("restart", seconds=0.2)
        missed = [simulator.publish() for _ in range(150)]
        scene.wait_for_toots(missed, seconds=20)
        assert scene.of().gaps_lost == 0
        # The first connection's, four pages and an end; who overdraws asks again and again.
        assert scene.asked("timeline") <= 2 + 5 + 3
