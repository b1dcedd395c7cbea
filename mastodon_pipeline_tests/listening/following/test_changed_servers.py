"""A changed list of servers while listeners run: nothing lost, and the others notice nothing."""

from collections import Counter

import pytest

from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.following.position_store import feed_key
from mastodon_pipeline.servers import parse_server
from mastodon_pipeline_tests.listening.conftest import listening, simulator_settings
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)

pytestmark = pytest.mark.thorough


def test_a_server_that_changes_hands_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two listeners, as two groups have them: the one lets go of a server, then the other takes it.

    What is published in between is read from the position that the first one saved, although the
    second one began before there was any. The servers that stay keep their streams.
    """
    policies = tuple(ServerPolicy(f"{name}.example") for name in ("stays", "moves", "other"))
    options = Options(servers=policies, toots=0, start="control")
    positions, first, second = MemoryPositions(), RecordingSink(), RecordingSink()
    with Simulator(options) as simulator:
        settings = simulator_settings(simulator, monkeypatch)
        stays, moves, other = (parse_server(server.base_url) for server in simulator.servers)
        with (
            listening(settings, second, positions, [other]) as takes,
            listening(settings, first, positions, [stays, moves]) as lets_go,
        ):
            streams = [server.streams for server in simulator.servers]
            simulator.wait_until(lambda: all(len(each) == 1 for each in streams))
            published = [simulator.publish(number) for number in (0, 1, 2) for _ in range(5)]
            wait_until(lambda: len(first.uris()) == 10, "the first one's toots")
            wait_until(
                lambda: feed_key(moves.base_url, moves.feed) in positions.kept, "a saved position"
            )
            lets_go.change_servers([stays])
            simulator.wait_until(lambda: len(streams[1]) == 0)
            # More than the page that a listener without a position would begin with.
            published += [simulator.publish(number) for number in (0, 1, 2) for _ in range(60)]
            takes.change_servers([other, moves])
            simulator.wait_until(lambda: len(streams[1]) == 1)
            published += [simulator.publish(number) for number in (0, 1, 2) for _ in range(5)]
            heard = set(published)
            wait_until(lambda: set(first.uris() + second.uris()) == heard, "every toot")
        assert simulator.asked("streaming", 0) == simulator.asked("streaming", 2) == 1
    streamed = Counter(
        record.uri
        for sink in (first, second)
        for record in sink.records
        if record.source == "stream"
    )
    assert max(streamed.values()) == 1, "two listeners had one stream"
