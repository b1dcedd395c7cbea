"""A listener beside simulated servers for the time of a test: what it records, and how politely.

Timeouts that are minutes or hours in production are tenths of seconds here, by the listener's own
arguments; nothing of it is replaced.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Backoff, Timings
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.position_store import PositionStore
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.servers import Feed, Server, parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import MemoryPositions, RecordingSink
from mastodon_pipeline_tests.support.simulated_servers import simulator_settings
from mastodon_pipeline_tests.support.waiting import wait_until

FAST = Timings(request_seconds=0.5, silence_seconds=0.6, parked_seconds=60, gap_refusal_seconds=0)
EAGER = Backoff(first_seconds=0.1, longest_seconds=0.5)
STEADY = Backoff(first_seconds=0.5, longest_seconds=60.0)
"""Full jitter, at least a tenth of the bound: see `come_no_earlier`."""
_FOLLOWED = ("streaming", "polling", "websocket")
_POLL_SECONDS = 0.02
"""States last a few hundredths of a second."""


@contextmanager
def listening(
    settings: Settings,
    sink: TootSink,
    positions: PositionStore,
    servers: Sequence[Server] | None = None,
    *,
    timings: Timings = DEFAULT_TIMINGS,
    backoff: Backoff = EAGER,
    beat: Callable[[], None] = lambda: None,
) -> Iterator[Listener]:
    """Run a listener in a thread; stop it at the end.

    It follows `servers`, or those of the settings.
    """
    listener = Listener(
        settings.servers() if servers is None else servers,
        settings,
        sink,
        positions,
        backoff=lambda: replace(backoff),
        timings=timings,
    )
    thread = threading.Thread(target=listener.run, args=(beat, 0.1))
    thread.start()
    try:
        yield listener
    finally:
        listener.stop()
        thread.join(900)
        assert not thread.is_alive(), "the listener did not stop within 15 minutes"


@dataclass
class Scene:
    """A running listener and the servers that it follows."""

    simulator: Simulator
    listener: Listener
    sink: RecordingSink

    def statistics(self, server: int | str = 0) -> ServerStatistics:
        """Return the listener's statistics of a server."""
        base_url = self.simulator.server(server).base_url
        return next(s for s in self.listener.statistics if s.server.base_url == base_url)

    def requests(self, endpoint: Endpoint | None = None, server: int | str = 0) -> int:
        """Return how many requests a server has received."""
        return self.simulator.asked(endpoint, server)

    def request_times(self, endpoint: Endpoint | None = None, server: int | str = 0) -> list[float]:
        """Return the monotonic seconds at which a server received its requests.

        What lies between them may be longer on a busy machine, but no shorter than a pause that
        the listener made after the answer.
        """
        requests = self.simulator.server(server).requests
        return self.simulator.call(
            lambda: [
                r.at
                for r in requests
                if (r.endpoint == endpoint if endpoint else r.endpoint != "robots")
            ]
        )

    def is_followed(self, server: int | str = 0) -> bool:
        """Return whether a server is being streamed or polled."""
        return self.statistics(server).state in _FOLLOWED

    def wait_for(
        self, state: str, *reasons: str, server: int | str = 0, timeout_seconds: float = 900
    ) -> str:
        """Wait until the server is in this state with all these words in its reason."""
        statistics = self.statistics(server)
        seen: list[str] = []

        def is_reached() -> bool:
            current = (statistics.state, statistics.reason)
            if str(current) not in seen[-1:]:
                seen.append(str(current))
            return current[0] == state and all(word in current[1] for word in reasons)

        def failure() -> str:
            return f"{state} because {reasons}, but {seen}"

        wait_until(is_reached, failure, timeout_seconds, _POLL_SECONDS)
        return statistics.reason

    def wait_until_failing(self, endpoint: Endpoint, *reasons: str, server: int | str = 0) -> None:
        """Wait until an endpoint's fault shows, with all these words.

        A server whose self-description fails is followed all the same.
        """
        if endpoint == "instance":
            self.wait_for("streaming", "does not describe itself", *reasons, server=server)
        elif endpoint == "streaming":  # "waiting", then also "polling" between the attempts.
            statistics = self.statistics(server)
            wait_until(
                lambda: statistics.reason and all(word in statistics.reason for word in reasons),
                lambda: f"{reasons}, but {statistics.state} because {statistics.reason!r}",
            )
        else:
            self.wait_for("waiting", *reasons, server=server)

    def wait_until_connected(self, state: str = "streaming", server: int | str = 0) -> None:
        """Wait until the stream is open and the gap before it is filled."""
        self.wait_for(state, server=server)
        wait_until(lambda: self.statistics(server).gaps_filled > 0, "the timeline's first pages")

    def wait_for_toots(self, uris: Sequence[str], timeout_seconds: float = 900) -> None:
        """Wait until all of these toots are recorded.

        By whatever event: the edit of a missed toot contains all of it.
        """

        def missing() -> set[str]:
            return set(uris) - recorded(self.sink)

        def failure() -> str:
            lines = [statistics.snapshot().line() for statistics in self.listener.statistics]
            return f"{len(missing())} of {len(uris)} are missing; {lines}"

        wait_until(lambda: not missing(), failure, timeout_seconds, _POLL_SECONDS)

    def receive_toot(self, server: int | str = 0, timeout_seconds: float = 900) -> str:
        """Publish a toot, wait until it is recorded and return its uri."""
        uri = self.simulator.publish(server)
        self.wait_for_toots([uri], timeout_seconds)
        return uri


@contextmanager
def listening_to(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    feeds: Sequence[Feed] = ("local",),
    only: Sequence[int] | None = None,
    others: Sequence[str] = (),
    positions: MemoryPositions | None = None,
    sink: RecordingSink | None = None,
    timings: Timings = FAST,
    backoff: Backoff = EAGER,
    settings: Settings | None = None,
) -> Iterator[Scene]:
    """Listen to all of the simulator's servers until the end of the block.

    Afterwards no server may have seen two streams of a feed at once, or a request without our
    User-Agent. `only`: the positions of the servers to follow; `others`: further addresses.
    """
    settings = settings or simulator_settings(simulator, monkeypatch)
    urls = [simulator.servers[n].base_url for n in only or range(len(simulator.servers))]
    servers = [parse_server(url, feed) for url in urls for feed in feeds]
    servers += map(parse_server, others)
    sink, positions = sink or RecordingSink(), positions or MemoryPositions()
    with listening(
        settings, sink, positions, servers, timings=timings, backoff=backoff
    ) as listener:
        yield Scene(simulator, listener, sink)
    user_agents, most_streams = simulator.call(lambda: _behaviour(simulator))
    assert user_agents <= {settings.user_agent}
    assert most_streams <= len(feeds)


def _behaviour(simulator: Simulator) -> tuple[set[str], int]:
    """Return the User-Agents that the servers saw, and the most streams that one saw at once."""
    requests = [request for server in simulator.servers for request in server.requests]
    most_streams = max(server.streams.most_at_once for server in simulator.servers)
    return {request.user_agent for request in requests}, most_streams


def recorded(sink: RecordingSink) -> set[str]:
    """Return the uris of all toots that a sink was given."""
    return {*sink.uris("update"), *sink.uris("status.update")}


def duplicates(uris: Sequence[str]) -> dict[str, int]:
    """Return the uris that occur more than once, and how often."""
    return {uri: count for uri, count in Counter(uris).items() if count > 1}


def pauses(times: Sequence[float]) -> list[float]:
    """Return the seconds between each two times that follow each other."""
    return [after - before for before, after in pairwise(times)]


def bursts(times: Sequence[float], pause_seconds: float) -> list[int]:
    """Return how many times follow each other without such a pause, for each group of them."""
    sizes = [1] if times else []
    for pause in pauses(times):
        if pause < pause_seconds:
            sizes[-1] += 1
        else:
            sizes.append(1)
    return sizes


def come_no_earlier(times: Sequence[float], since: float, backoff: Backoff = STEADY) -> bool:
    """Return whether attempts are as far apart as a backoff makes them at least.

    `since`: a time before the first of them.
    """
    earliest = since
    for number, at in enumerate(times):
        if at < earliest:
            return False
        earliest += min(backoff.longest_seconds, backoff.first_seconds * 2.0**number) / 10
    return True


def holds_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether a condition holds now and for this long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.05)
    return condition()
