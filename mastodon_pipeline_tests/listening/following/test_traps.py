"""What servers and networks do to a listener, one trap a test: it survives, politely, and says why.

Each counts the requests that the server saw: no hot loop, one budget a host.
"""

import time
from dataclasses import replace
from functools import partial

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.instance import ServerPolicy
from infra.simulator.limits import Limits, Rate
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.recording_sink import wait_until
from mastodon_pipeline_tests.support.scene import (
    ENDPOINTS,
    POLLED,
    SOON,
    STREAMED,
    TIMINGS,
    Scene,
    holds_for,
    listening_to,
    one_a_case,
    quiet,
    repeated,
    settled,
    suited,
)

pytestmark = pytest.mark.thorough

CLOSED = ServerPolicy(
    "closed.example", local_feed="authenticated", remote_feed="authenticated", thump_seconds=0.1
)


def was_asked(scene: Scene, endpoint: Endpoint, server: int) -> bool:
    """A request has come to that endpoint."""
    return scene.asked(endpoint, server) > 0


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
    timings = replace(TIMINGS, parked_seconds=1.5)
    cases: list[tuple[int, Endpoint]] = [
        (status, at) for status in (401, 403, 404, 410, 422) for at in ("instance", "timeline")
    ]
    policies = [suited("timeline", f"{at}{status}") for status, at in cases]
    with Simulator(quiet(*policies)) as simulator:
        faults = [{"status": status, "endpoint": at, **SOON} for status, at in cases]
        servers = one_a_case(simulator, faults)
        with listening_to(simulator, monkeypatch, timings=timings) as scene:
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


def test_a_stream_that_is_there_no_more_is_discovered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the server said of itself was long ago: it may be another software by now."""
    timings = replace(TIMINGS, fresh_seconds=0.3)
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        settled(scene)
        time.sleep(0.5)
        assert scene.asked("instance") == 1
        simulator.fault("answer", status=404, endpoint="streaming", seconds=60)
        simulator.fault("cut")
        scene.wait_for("polling", "404")
        scene.hears()
        assert (scene.asked("instance"), scene.asked("streaming")) == (2, 4)


def test_only_what_is_public_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one feed is closed, a request that does not say `local=true` is a 422."""
    with Simulator(quiet(POLLED)) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.hears()
        polls = [seen for seen in simulator.servers[0].requests if seen.endpoint == "timeline"]
        assert all("local=true" in seen.path for seen in polls)


# 429


def test_a_429_is_waited_for_in_every_form_at_every_endpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reset as ISO 8601 or epoch seconds, or Retry-After: until then not one request."""
    cases = [(form, at) for form in ("iso", "epoch", "retry_after") for at in ENDPOINTS]
    policies = [
        ServerPolicy(f"{form}-{at}.example".replace("_", "-"), token=at != "timeline")
        for form, at in cases
    ]
    with Simulator(quiet(*policies)) as simulator:
        for position, (form, at) in enumerate(cases):
            orders = {"status": 429, "endpoint": at, "reset": form, "reset_seconds": 2.5}
            simulator.fault("answer", position, seconds=2, **orders)
        with listening_to(simulator, monkeypatch) as scene:
            began = time.monotonic()
            for position, (_, at) in enumerate(cases):
                wait_until(partial(was_asked, scene, at, position), "the request")
                if at != "timeline":
                    scene.wait_for("waiting", "429", server=position, seconds=2)
            time.sleep(0.2)  # until the answers are read
            asked = [scene.asked(server=position) for position in range(len(cases))]
            time.sleep(max(0.0, began + 1.5 - time.monotonic()))
            now = [scene.asked(server=position) for position in range(len(cases))]
            assert dict(zip(cases, now, strict=True)) == dict(zip(cases, asked, strict=True))
            for position in range(len(cases)):
                scene.hears(position)
                assert simulator.servers[position].requests[0].at < began + 1


def test_a_429_that_does_not_say_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left alone for a minute."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", status=429, endpoint="timeline", seconds=0.3)
        with listening_to(simulator, monkeypatch) as scene:
            wait_until(lambda: scene.asked("timeline") > 0, "the request")
            assert holds_for(lambda: scene.asked("timeline") == 1, 1.0)


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


def test_two_feeds_of_a_server_share_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that says 429 to one of them hears nothing of the other either."""
    policy = ServerPolicy("both.example", token=False)
    with Simulator(quiet(policy)) as simulator:
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=2, reset="iso", reset_seconds=2
        )
        with listening_to(simulator, monkeypatch, feeds=("local", "remote")) as scene:
            wait_until(lambda: scene.asked("timeline") > 0, "the request")
            time.sleep(0.3)  # a request may have been on its way
            asked = scene.asked()
            assert asked <= 4
            assert holds_for(lambda: scene.asked() == asked, 1.0)
            scene.hears()


def test_a_first_look_that_comes_late_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says 429 when we begin: what it lists since then is read, not only a page."""
    with Simulator(quiet(POLLED)) as simulator:
        before = [simulator.publish() for _ in range(60)]
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=1, reset="iso", reset_seconds=1
        )
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "429")
            missed = [simulator.publish() for _ in range(90)]
            scene.wait_for_toots(missed)
            assert scene.asked("timeline") <= 6
            assert len({*before} & {*scene.sink.uris()}) < 60, "what was before is not wanted"
        assert repeated(scene.sink.uris()) == {}


def test_a_poller_that_waits_for_a_429_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """State and reason tell it, and when it is over."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=1, reset="iso", reset_seconds=1
        )
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "429", seconds=3)
            scene.wait_for("polling")
