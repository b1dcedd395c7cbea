"""Late rows and events, as real servers have them every day."""

import json
from typing import Any

import pytest

from infra.simulator.instance import ServerPolicy, gotosocial
from infra.simulator.simulator import Simulator
from infra.simulator.weather import CALM, Delays, Weather
from mastodon_pipeline_tests.infra.simulator.api import get
from mastodon_pipeline_tests.support.simulated_servers import quiet
from mastodon_pipeline_tests.support.waiting import wait_until

STREAM, TIMELINE = "v1/streaming/public/local", "v1/timelines/public"


def streamed(weather: Weather, count: int) -> tuple[list[str], list[str]]:
    """Return the uris of toots in the order of their ids, and in that of their events."""
    with Simulator(quiet(ServerPolicy("a.example"), weather=weather)) as simulator:
        server = simulator.servers[0]
        with get(server, STREAM, stream=True) as stream:
            simulator.wait_until(lambda: len(server.streams) == 1)
            uris = [simulator.publish() for _ in range(count)]
            simulator.wait_until(lambda: server.served["events"] == count)
            simulator.call(server.streams.end)
            lines = stream.raw.read().split(b"\n")
    payloads: list[Any] = [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]
    return uris, [payload["uri"] for payload in payloads]


def test_events_come_out_of_the_order_of_ids() -> None:
    """As from Mastodon's streaming server: each is delayed for itself, and none is lost."""
    published, received = streamed(Weather(event_seconds=0.3), 20)
    assert received != published
    assert sorted(received) == sorted(published)


def test_calm_weather_keeps_the_order() -> None:
    published, received = streamed(CALM, 20)
    assert received == published


@pytest.mark.thorough
def test_gotosocial_lists_a_toot_after_it_has_its_id() -> None:
    """A later id may be listed before an earlier one; in the end all are."""
    weather = Weather(event_seconds=0.0, listing_seconds=1.0)
    with Simulator(quiet(gotosocial("g.example"), weather=weather)) as simulator:
        server = simulator.servers[0]
        uris = {simulator.publish() for _ in range(20)}

        def listed() -> set[str]:
            return {status["uri"] for status in get(server, TIMELINE, params={"limit": 40}).json()}

        assert len(listed()) < 20
        wait_until(lambda: listed() == uris, "all rows")


def test_toot_that_is_deleted_before_it_is_listed_is_listed_first() -> None:
    """Else the truth would hold a toot that no client could ever see."""
    weather = Weather(event_seconds=0.0, listing_seconds=60.0)
    with Simulator(quiet(gotosocial("g.example"), weather=weather)) as simulator:
        server = simulator.servers[0]
        simulator.publish()
        toot = simulator.fediverse.live_toots[0]
        assert simulator.call(lambda: len(server.timeline)) == 0
        simulator.call(lambda: server.delete(toot))
        assert simulator.call(lambda: (len(server.timeline), len(server._unlisted))) == (0, 0)


def test_same_seed_gives_the_same_delays_and_speed_shortens_them() -> None:
    first, same, fast = (Delays(Weather(), "seed") for _ in range(3))
    fast.speed = 1000.0
    delays = [first.of_event() for _ in range(5)]
    assert [same.of_event() for _ in range(5)] == delays
    assert [round(fast.of_event() * 1000, 9) for _ in range(5)] == [round(d, 9) for d in delays]
