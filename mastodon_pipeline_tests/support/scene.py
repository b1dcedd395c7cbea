"""A listener beside simulated servers, for the time of a test: what it records, and how polite.

Times that are minutes or hours in life are tenths of seconds here, by the listener's own
arguments; nothing of it is replaced.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from infra.simulator.faults import Endpoint
from infra.simulator.fediverse import Options
from infra.simulator.instance import ServerPolicy
from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.client.pacing import Backoff, Timings
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.servers import Feed, parse_server
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.recording_sink import (
    MemoryPositions,
    RecordingSink,
    wait_until,
)

TIMINGS = Timings(request_seconds=0.5, silence_seconds=0.6, parked_seconds=60)
STREAMED = ServerPolicy("stream.example", remote_feed="authenticated", thump_seconds=0.1)
"""Its thumps come faster than `TIMINGS` ends."""
POLLED = ServerPolicy("poll.example", token=False, remote_feed="authenticated")
ENDPOINTS: tuple[Endpoint, ...] = ("instance", "timeline", "streaming")
CONTACT = "https://example.org/who-listens"
EAGER = Backoff(first_seconds=0.1, longest_seconds=0.5)
STEADY = Backoff(first_seconds=0.5, longest_seconds=60.0)
"""Full jitter, at least a tenth of the bound: in the first 1.5 s at most five further attempts."""
SOON: dict[str, Any] = {"reset": "iso", "reset_seconds": 0.1}
"""Of a budget: a server that says nothing of one is asked for pages every three seconds."""
ATTEMPTS = 6
"""The most that `STEADY` allows in 1.5 s, whatever its jitter."""


def quiet(*servers: ServerPolicy) -> Options:
    """Servers that publish only when a test says so."""
    return Options(servers=servers, toots=0, start="control")


@dataclass
class Scene:
    """A running listener and its opponents."""

    simulator: Simulator
    listener: Listener
    sink: RecordingSink

    def of(self, server: int | str = 0) -> ServerStatistics:
        """What the listener says of a server."""
        base_url = self.simulator.server(server).base_url
        return next(s for s in self.listener.statistics if s.server.base_url == base_url)

    def wait_for(
        self, state: str, *reasons: str, server: int | str = 0, seconds: float = 10
    ) -> str:
        """The reason, once the server is in that state with all these words in its reason."""
        statistics = self.of(server)
        seen: list[str] = []

        def reached() -> bool:
            now = (statistics.state, statistics.reason)
            if str(now) not in seen[-1:]:
                seen.append(str(now))
            return now[0] == state and all(word in now[1] for word in reasons)

        try:
            wait_until(reached, "", seconds)
        except AssertionError:
            raise AssertionError(f"never {state} because {reasons}, but {seen}") from None
        return statistics.reason

    def wait_for_toots(self, uris: Sequence[str], seconds: float = 10) -> None:
        """Returns when all of them are recorded.

        By whatever event: the edit of a toot that was missed tells all of it.
        """
        deadline = time.monotonic() + seconds
        while missing := set(uris) - recorded(self.sink):
            lines = [statistics.snapshot().line() for statistics in self.listener.statistics]
            assert time.monotonic() < deadline, f"{len(missing)} of {len(uris)} missing; {lines}"
            time.sleep(0.02)

    def hears(self, server: int | str = 0, seconds: float = 10) -> str:
        """A toot that is published now and arrives; its uri."""
        uri = self.simulator.publish(server)
        self.wait_for_toots([uri], seconds)
        return uri

    def asked(self, endpoint: Endpoint | None = None, server: int | str = 0) -> int:
        """How many requests a server has seen."""
        return self.simulator.asked(endpoint, server)


@contextmanager
def listening_to(
    simulator: Simulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    feeds: Sequence[Feed] = ("local",),
    only: Sequence[int] | None = None,
    others: Sequence[str] = (),
    positions: MemoryPositions | None = None,
    timings: Timings = TIMINGS,
    backoff: Backoff = EAGER,
) -> Iterator[Scene]:
    """Listens to all of the simulator's servers until the end of the block.

    Afterwards no server may have seen two streams of a feed at once, or a request that does not
    say whose it is. `only`: the positions of those that are listened to; `others` are addresses
    beside them.
    """
    settings = simulator_settings(simulator, monkeypatch)
    followed = [simulator.servers[n].base_url for n in only or range(len(simulator.servers))]
    servers = [parse_server(url, feed) for url in followed for feed in feeds]
    sink = RecordingSink()
    listener = Listener(
        [*servers, *map(parse_server, others)],
        settings,
        sink,
        positions or MemoryPositions(),
        backoff=lambda: replace(backoff),
        timings=timings,
    )
    thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.1})
    thread.start()
    try:
        yield Scene(simulator, listener, sink)
    finally:
        listener.stop()
        thread.join(15)
        assert not thread.is_alive(), "the listener did not stop within 15 s"
    agents, most = simulator.call(lambda: _behaviour(simulator))
    assert agents <= {settings.user_agent}
    assert most <= len(feeds)


def _behaviour(simulator: Simulator) -> tuple[set[str], int]:
    """The user agents that the servers saw, and the most streams that one saw at once."""
    requests = [seen for server in simulator.servers for seen in server.requests]
    most = max(server.streams.most_at_once for server in simulator.servers)
    return {seen.user_agent for seen in requests}, most


def simulator_settings(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings for listening to the simulator; its tokens go into the environment."""
    for name, value in simulator.environment.items():
        monkeypatch.setenv(name, value)
    return Settings(mastodon_poll_interval_seconds=0.2, mastodon_contact=CONTACT)


def one_a_case(
    simulator: Simulator, faults: Sequence[dict[str, Any]], kind: str = "answer"
) -> list[int]:
    """Orders each server, in their order, a fault of its own; their positions."""
    for position, details in enumerate(faults):
        simulator.fault(kind, position, **{"seconds": 60} | details)
    return list(range(len(faults)))


def suited(endpoint: Endpoint, name: str = "case") -> ServerPolicy:
    """A server on which a fault at that endpoint stands in the way of listening."""
    return replace(POLLED if endpoint == "timeline" else STREAMED, domain=f"{name}.example")


def settled(scene: Scene, server: int | str = 0) -> None:
    """Returns when the stream is open and the first look at the timeline is over."""
    scene.wait_for("streaming", server=server)
    wait_until(lambda: scene.of(server).gaps_filled > 0, "the first pages of the timeline")


def recorded(sink: RecordingSink) -> set[str]:
    """The uris of all toots that a sink was told of."""
    return {*sink.uris("update"), *sink.uris("status.update")}


def repeated(uris: Sequence[str]) -> dict[str, int]:
    """Which of them are there more than once, and how often."""
    return {uri: count for uri, count in Counter(uris).items() if count > 1}


def holds_for(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds now and until so many seconds have passed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            return False
        time.sleep(0.05)
    return condition()
