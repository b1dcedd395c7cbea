"""The list of servers may change while listeners run: nothing is lost, the others not disturbed."""

from collections import Counter

import pytest

from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.scene import listening
from mastodon_pipeline_tests.support.simulated_servers import quiet, simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough


def test_server_that_moves_to_another_listener_loses_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two listeners, as two groups have them: the first drops a server, then the second takes it.

    What is published in between is read from the position that the first one saved, although the
    second one started before there was any. The servers that stay keep their streams. Shows G5.
    """
    policies = [ServerPolicy(f"{name}.example") for name in ("stays", "moves", "other")]
    positions, first, second = MemoryPositions(), RecordingSink(), RecordingSink()
    with Simulator(quiet(*policies)) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        stays, moves, other = (parse_server(server.base_url) for server in simulator.servers)
        moves_key = feed_key(moves.base_url, moves.feed)
        with (
            listening(settings, second, positions, [other]) as second_listener,
            listening(settings, first, positions, [stays, moves]) as first_listener,
        ):
            streams = [server.streams for server in simulator.servers]
            simulator.wait_until(lambda: all(len(each) == 1 for each in streams))
            published = [simulator.publish(number) for number in (0, 1, 2) for _ in range(5)]
            wait_until(lambda: len(first.uris()) == 10, "the first listener's toots")
            wait_until(lambda: moves_key in positions.last_ids, "a saved position")
            first_listener.change_servers([stays])
            simulator.wait_until(lambda: len(streams[1]) == 0)
            # More than the one page that a listener without a position would start with.
            published += [simulator.publish(number) for number in (0, 1, 2) for _ in range(60)]
            second_listener.change_servers([other, moves])
            simulator.wait_until(lambda: len(streams[1]) == 1)
            published += [simulator.publish(number) for number in (0, 1, 2) for _ in range(5)]
            wait_until(lambda: {*first.uris(), *second.uris()} == set(published), "every toot")
        assert simulator.asked("streaming", 0) == simulator.asked("streaming", 2) == 1
    streamed = Counter(
        record.uri
        for sink in (first, second)
        for record in sink.records
        if record.source == "stream"
    )
    assert max(streamed.values()) == 1, "two listeners had the same stream"
