"""Servers whose clocks are set ahead or back."""

from datetime import UTC, datetime, timedelta

from infra.simulator.fediverse import Options
from infra.simulator.plan import StatusIds
from infra.simulator.simulator import Simulator


def test_clock_that_is_set_back_gives_ids_below_the_last_and_none_twice() -> None:
    ids = StatusIds()
    ahead = ids.by_clock(200_000)
    back = [ids.by_clock(100_000) for _ in range(3)]
    assert max(back) < ahead
    assert len(set(back)) == 3
    assert ids.by_clock(300_000) > ahead


def test_toot_is_dated_by_its_servers_clock() -> None:
    with Simulator(Options(toots=0, start="now")) as simulator:
        simulator.servers[0].clock_seconds = 40.0
        uri = simulator.publish(0)
        [toot] = [toot for toot in simulator.truth() if toot.uri == uri]
    ahead = datetime.fromisoformat(toot.created_at) - datetime.now(UTC)
    assert timedelta(seconds=20) < ahead <= timedelta(seconds=40)
