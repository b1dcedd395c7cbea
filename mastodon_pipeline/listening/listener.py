"""Following a group of servers at once, until told to stop.

One thread follows one server and none disturbs another; the calling thread lets acknowledgements
in, saves positions and beats. Stopping takes seconds, whatever the threads are waiting for.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread

from mastodon_pipeline.listening.backoff import Backoff
from mastodon_pipeline.listening.feed_position import FeedPosition, overlap_ms
from mastodon_pipeline.listening.positions import PositionStore, position_key
from mastodon_pipeline.listening.server_follower import ServerFollower
from mastodon_pipeline.listening.server_statistics import ServerStatistics
from mastodon_pipeline.listening.toot_record import SeenToots
from mastodon_pipeline.listening.toot_sink import TootSink
from mastodon_pipeline.settings import Server, Settings

SAVE_POSITIONS_SECONDS = 2.0
"""How often positions are saved: a killed listener reads about that much twice."""
_STOP_SECONDS = 5.0
_FLUSH_SECONDS = 10.0


class Listener:
    """Follows `servers` into `sink`; goes on from what `positions` remembers of them."""

    def __init__(
        self,
        servers: Sequence[Server],
        settings: Settings,
        sink: TootSink,
        positions: PositionStore,
        stop: Event | None = None,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        self._stop = stop or Event()
        self._sink = sink
        self._positions = positions
        known = positions.read()
        seen = SeenToots()
        self._followers = [
            ServerFollower(
                server,
                settings,
                sink,
                seen,
                FeedPosition(known.get(position_key(server)), overlap_ms(server.feed)),
                self._stop,
                backoff(),
            )
            for server in servers
        ]

    @property
    def statistics(self) -> list[ServerStatistics]:
        """Each server's state and counts."""
        return [follower.statistics for follower in self._followers]

    def stop(self) -> None:
        """Makes `run` return within seconds; callable from any thread and from `beat`."""
        self._stop.set()

    def run(self, beat: Callable[[], None] = lambda: None, beat_seconds: float = 0.5) -> None:
        """Listens until `stop`; calls `beat` every `beat_seconds` seconds in this thread.

        However it ends, by `stop`, by an exception of `beat` or by an interrupt in this
        thread: what has been read is flushed and the positions are saved.
        Raises DeliveryFailed where Kafka did not take what was read.
        """
        threads = [
            Thread(target=follower.run, name=follower.server.name, daemon=True)
            for follower in self._followers
        ]
        try:
            for thread in threads:
                thread.start()
            saved_at = time.monotonic()
            while not self._stop.wait(beat_seconds):
                self._sink.poll()
                if time.monotonic() - saved_at >= SAVE_POSITIONS_SECONDS:
                    self._save_positions()
                    saved_at = time.monotonic()
                beat()
        finally:
            self._finish(threads)

    def _finish(self, threads: list[Thread]) -> None:
        self._stop.set()
        for follower in self._followers:
            follower.interrupt()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        try:
            self._sink.close(_FLUSH_SECONDS)
        finally:
            self._save_positions()
            self._positions.flush()

    def _save_positions(self) -> None:
        for follower in self._followers:
            follower.save_position(partial(self._positions.write, position_key(follower.server)))
