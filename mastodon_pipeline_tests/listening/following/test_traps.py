"""Rate limits and refusals: the listener survives each, politely, and reports the reason.

Each test counts the requests that the server received: no hot loop, one budget per host.
"""

import time
from dataclasses import replace
from functools import partial

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.instance import ServerPolicy
from infra.simulator.limits import Limits, Rate
from infra.simulator.simulator import Simulator
from mastodon_pipeline_tests.support.scene import (
    FAST,
    bursts,
    duplicates,
    holds_for,
    listening_to,
    pauses,
)
from mastodon_pipeline_tests.support.simulated_servers import (
    ENDPOINTS,
    POLLED,
    SHORT_RESET,
    STREAMED,
    inject_faults,
    policy_for,
    quiet,
)
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough

CLOSED = ServerPolicy(
    "closed.example", local_feed="authenticated", remote_feed="authenticated", thump_seconds=0.1
)


# Pace


def test_cached_timeline_is_polled_no_more_often_than_it_changes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Mastodon caches anonymous responses, and says for how long."""
    with (
        Simulator(quiet(replace(POLLED, cache_seconds=1.0))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_for("polling")
        wait_until(lambda: scene.requests("timeline") >= 4, "polls")
        # The first page, and what precedes it, once.
        assert min(pauses(scene.request_times("timeline")[1:])) > 0.5, "every 0.2 s is configured"
        scene.receive_toot()


# Refusals


def test_refusing_server_is_parked_with_its_answer_and_tried_again_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Asking again at once would change nothing; much later it may. Shows G6."""
    timings = replace(FAST, parked_seconds=1.5)
    cases: list[tuple[int, Endpoint]] = [
        *((status, "timeline") for status in (401, 403, 404, 410, 422)),
        (410, "instance"),
    ]
    policies = [policy_for("timeline", f"{at}{status}") for status, at in cases]
    with Simulator(quiet(*policies)) as simulator:
        faults = [{"status": status, "endpoint": at, **SHORT_RESET} for status, at in cases]
        servers = inject_faults(simulator, faults)
        with listening_to(simulator, monkeypatch, timings=timings) as scene:
            for server, (status, _) in zip(servers, cases, strict=True):
                scene.wait_for("parked", str(status), server=server)
            for server in servers:
                times = partial(scene.request_times, None, server)
                wait_until(lambda t=times: len(bursts(t(), 1.5)) > 1, "another attempt")  # type: ignore[misc]
                attempts = bursts(times(), 1.5)
                assert max(attempts) <= 4, "instance info once, twice if there was no timeline"
                simulator.fault("clear", server)
            for server in servers:
                scene.receive_toot(server)


@pytest.mark.parametrize("status", [401, 403])
def test_server_that_refuses_the_token_is_polled_without_it_or_parked(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A public feed is polled; a closed one is parked with the name of the token's variable."""
    with Simulator(quiet(STREAMED, CLOSED)) as simulator:
        for server in (0, 1):
            simulator.fault("answer", server, status=status, endpoint="streaming", seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("polling", "token", str(status))
            scene.receive_toot()
            scene.wait_for("parked", "MASTODON_TOKEN_127_0_0_1_", str(status), server=1)
            assert scene.requests("streaming", 0) == scene.requests("streaming", 1) == 1
            assert scene.requests("timeline", 1) == 0
        polls = [r for r in simulator.servers[0].requests if r.endpoint == "timeline"]
        assert polls
        assert not any(poll.token for poll in polls)


@pytest.mark.parametrize(("status", "tries"), [(404, 2), (410, 1)])
def test_server_without_event_streams_is_polled(
    status: int, tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 404 a WebSocket is tried first; after a 410 (gone) it is not."""
    with Simulator(quiet(STREAMED)) as simulator:
        simulator.fault("answer", status=status, endpoint="streaming", seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("polling", str(status))
            scene.receive_toot()
            assert (scene.requests("instance"), scene.requests("streaming")) == (1, tries)


def test_instance_info_is_fetched_again_if_a_stream_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The info was fetched long ago: the server may run other software by now."""
    timings = replace(FAST, fresh_seconds=0.3)
    with (
        Simulator(quiet(STREAMED)) as simulator,
        listening_to(simulator, monkeypatch, timings=timings) as scene,
    ):
        scene.wait_until_connected()
        time.sleep(0.5)
        assert scene.requests("instance") == 1
        simulator.fault("answer", status=404, endpoint="streaming", seconds=3600)
        simulator.fault("cut")
        scene.wait_for("polling", "404")
        scene.receive_toot()
        # On a busy machine the new description is old, too, before the streams have answered.
        descriptions = scene.requests("instance")
        assert descriptions >= 2
        assert scene.requests("streaming") == 2 * descriptions


def test_only_the_public_feed_is_requested(monkeypatch: pytest.MonkeyPatch) -> None:
    """If one feed is closed, a request without `local=true` is a 422."""
    with Simulator(quiet(POLLED)) as simulator:
        with listening_to(simulator, monkeypatch) as scene:
            scene.receive_toot()
        polls = [r for r in simulator.servers[0].requests if r.endpoint == "timeline"]
        assert all("local=true" in poll.path for poll in polls)


# 429


def test_no_request_is_sent_before_a_429_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """At every endpoint, with the reset as ISO 8601 or epoch seconds, or with Retry-After.

    Shows G7.
    """
    cases = [(form, at) for form in ("iso", "epoch", "retry_after") for at in ENDPOINTS]
    policies = [
        ServerPolicy(f"{form}-{at}.example".replace("_", "-"), token=at != "timeline")
        for form, at in cases
    ]
    with Simulator(quiet(*policies)) as simulator:
        for position, (form, at) in enumerate(cases):
            limit = {"status": 429, "endpoint": at, "reset": form, "reset_seconds": 2.5}
            simulator.fault("answer", position, seconds=2, **limit)
        with listening_to(simulator, monkeypatch) as scene:
            for position in range(len(cases)):
                scene.receive_toot(position)
        for case, server in zip(cases, simulator.servers, strict=True):
            times = [request.at for request in server.requests]
            refused_at = next(r.at for r in server.requests if r.endpoint == case[1])
            # What was sent before the answer was read arrives within the first second.
            early = [at - refused_at for at in times if 1.0 < at - refused_at < 1.5]
            assert early == [], case


def test_429_without_a_reset_is_waited_out_for_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault("answer", status=429, endpoint="timeline", seconds=3600)
        with listening_to(simulator, monkeypatch) as scene:
            wait_until(lambda: scene.requests("timeline") > 0, "the request")
            simulator.fault("clear")
            assert holds_for(lambda: scene.requests("timeline") == 1, 1.0)


def test_long_gap_is_read_within_the_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four pages at two requests per second: all of it, with hardly a refusal."""
    limits = Limits(paging=Rate(2, 1))
    with (
        Simulator(quiet(replace(STREAMED, limits=limits))) as simulator,
        listening_to(simulator, monkeypatch) as scene,
    ):
        scene.wait_until_connected()
        scene.receive_toot()
        simulator.fault("restart", seconds=0.2)
        missed = [simulator.publish() for _ in range(150)]
        scene.wait_for_toots(missed)
        assert scene.statistics().gaps_lost == 0
        # The first connection's, four pages and the end; beyond the limit it would be many more.
        assert scene.requests("timeline") <= 2 + 5 + 3


def test_two_feeds_of_a_host_share_its_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 for one of them the other sends no request either. Shows G7."""
    policy = ServerPolicy("both.example", token=False)
    with Simulator(quiet(policy)) as simulator:
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=2, reset="iso", reset_seconds=2
        )
        with listening_to(simulator, monkeypatch, feeds=("local", "remote")) as scene:
            wait_until(lambda: scene.requests("timeline") > 0, "the request")
            time.sleep(0.3)  # a request may have been on its way
            requests = scene.requests()
            assert requests <= 4
            assert holds_for(lambda: scene.requests() == requests, 1.0)
            scene.receive_toot()


def test_late_first_read_misses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a 429 at the start, everything listed since then is read, not only one page."""
    with Simulator(quiet(POLLED)) as simulator:
        before = [simulator.publish() for _ in range(60)]
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=1, reset="iso", reset_seconds=1
        )
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "429")
            missed = [simulator.publish() for _ in range(90)]
            scene.wait_for_toots(missed)
            assert scene.requests("timeline") <= 6
            assert len({*before} & {*scene.sink.uris()}) < 60, "what came before is not wanted"
        assert duplicates(scene.sink.uris()) == {}


def test_state_shows_that_polling_waits_after_a_429(monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason names it; the state is polling again afterwards."""
    with Simulator(quiet(POLLED)) as simulator:
        simulator.fault(
            "answer", status=429, endpoint="timeline", seconds=60, reset="iso", reset_seconds=1
        )
        with listening_to(simulator, monkeypatch) as scene:
            scene.wait_for("waiting", "429")
            simulator.fault("clear")
            scene.wait_for("polling")


# Clocks


def test_clock_is_compared_with_each_server_whose_timeline_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By the `Date` of its pages, streamed or polled."""
    policies = [replace(p, clock_ahead_seconds=28_800.0) for p in (STREAMED, POLLED)]
    with Simulator(quiet(*policies)) as simulator, listening_to(simulator, monkeypatch) as scene:
        for server in range(2):
            scene.receive_toot(server)
            seconds = scene.statistics(server).snapshot().clock_difference_seconds
            assert seconds == pytest.approx(-28_800, abs=60)
