"""A listener that runs beside the test, against the simulated Fediverse."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from infra.simulator.simulator import Simulator
from mastodon_pipeline.listening.client.pacing import Backoff
from mastodon_pipeline.listening.following.listener import Listener
from mastodon_pipeline.listening.following.position_store import PositionStore
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings


def simulator_settings(simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings for listening to the simulator; its tokens go into the environment."""
    for name, value in simulator.environment.items():
        monkeypatch.setenv(name, value)
    return Settings(mastodon_poll_interval_seconds=0.2)


@contextmanager
def listening(
    settings: Settings,
    sink: TootSink,
    positions: PositionStore,
    servers: Sequence[Server] | None = None,
) -> Iterator[Listener]:
    """A running listener, stopped at the end; reconnects within tenths of a second.

    It follows `servers`, or those of the settings.
    """
    listener = Listener(
        settings.servers() if servers is None else servers,
        settings,
        sink,
        positions,
        backoff=lambda: Backoff(first_seconds=0.1, longest_seconds=0.5),
    )
    thread = threading.Thread(target=listener.run, kwargs={"beat_seconds": 0.1})
    thread.start()
    try:
        yield listener
    finally:
        listener.stop()
        thread.join(15)
        assert not thread.is_alive(), "the listener did not stop within 15 s"
