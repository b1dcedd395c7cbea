"""Following any number of servers at once, until told to stop.

One thread runs an event loop in which every server is a task, and none disturbs another; a second
one lets acknowledgements in, and the calling thread saves positions and beats, also while the event
loop waits for room in the producer's queue. Stopping takes seconds, whatever the tasks wait for.
"""

import asyncio
import logging
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread

from mastodon_pipeline.listening.client.backoff import Backoff
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.patience import PATIENT, Patience
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.following.discoverer import Discoverer
from mastodon_pipeline.listening.following.follower import ServerFollower, SharedByFollowers
from mastodon_pipeline.listening.following.position import FeedPosition, overlap_ms
from mastodon_pipeline.listening.following.position_store import (
    PositionStore,
    SavedPosition,
    feed_key,
)
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import Sweeper
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

SAVE_POSITIONS_SECONDS = 2.0
"""How often positions are saved: a killed listener reads about that much twice."""
_REDISCOVERY_SECONDS = 5.0
_STOP_SECONDS = 3.0
_FLUSH_SECONDS = 10.0
_log = logging.getLogger(__name__)


def allow_many_connections() -> None:
    """Lets this process open as many files as the system lets it: each stream is one.

    The usual limit, 1024, would not do for a thousand servers; any process may raise it that far.
    """
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


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
        patience: Patience = PATIENT,
        seen: SeenToots | None = None,
    ) -> None:
        self._stop = stop or Event()
        self._sink = sink
        self._positions = positions
        self._backoff = backoff
        self._failure: Exception | None = None
        self._known = positions.read()
        budgets = RateBudgets()
        self._shared = SharedByFollowers(
            settings,
            patience,
            sink,
            seen or SeenToots(),
            Connections(settings, patience),
            budgets,
            Discoverer(settings, budgets, patience),
            Sweeper(patience.silence_seconds),
            self._failed,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_ready = Event()
        self._stopping = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followers = {_key(server): self._follower(server) for server in servers}
        self._left: dict[str, ServerFollower] = {}
        """Followers of servers that are not wanted any more; their last toots are on their way."""

    @property
    def statistics(self) -> list[ServerStatistics]:
        """Each server's state and counts."""
        return [follower.statistics for follower in self._followers.values()]

    def stop(self) -> None:
        """Makes `run` return within seconds; callable from any thread and from `beat`."""
        self._stop.set()

    def change_servers(self, servers: Sequence[Server]) -> None:
        """Follows exactly these servers from now on, within a moment; those that stay notice
        nothing. Callable from any thread and from `beat`, while `run` runs.

        A new one goes on from where whoever followed it last has saved its position.
        Raises as the position store's `read` does; then nothing has changed.
        """
        loop = self._loop
        assert loop is not None, "run comes first"
        known = self._positions.read()
        loop.call_soon_threadsafe(self._change, tuple(servers), known)

    def run(self, beat: Callable[[], None] = lambda: None, beat_seconds: float = 0.5) -> None:
        """Listens until `stop`; calls `beat` every `beat_seconds` seconds in this thread.

        However it ends, by `stop`, by an exception of `beat` or by an interrupt in this
        thread: what has been read is flushed and the positions are saved.
        Raises DeliveryFailed where Kafka did not take what was read.
        """
        allow_many_connections()
        thread = Thread(target=self._run_loop, name="listening", daemon=True)
        reports = Thread(
            target=self._take_reports, args=(beat_seconds,), name="delivery reports", daemon=True
        )
        try:
            thread.start()
            reports.start()
            saved_at = time.monotonic()
            while not self._stop.wait(beat_seconds):
                if time.monotonic() - saved_at >= SAVE_POSITIONS_SECONDS:
                    self._save_positions()
                    saved_at = time.monotonic()
                beat()
        finally:
            self._finish(thread)
        if self._failure is not None:
            raise self._failure

    def _take_reports(self, seconds: float) -> None:
        # Not in the main thread: an interrupt that came inside a delivery report would lose the
        # report, and itself become a SystemError of the producer's.
        while not self._stop.wait(seconds):
            try:
                self._sink.poll()
            except Exception as error:
                self._failed(error)

    def _finish(self, thread: Thread) -> None:
        self._stop.set()
        if thread.ident is not None:
            self._loop_ready.wait(_STOP_SECONDS)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopping.set)
            thread.join(_STOP_SECONDS)
        try:
            # It may still wait for room in the producer's queue: the sink's end frees it.
            self._sink.close(_FLUSH_SECONDS)
        finally:
            self._save_positions()
            self._positions.flush()
            if thread.ident is not None:
                thread.join(_STOP_SECONDS)

    def _save_positions(self) -> None:
        for follower in (*self._followers.values(), *self._left.values()):
            follower.keep_position(partial(self._positions.write, _key(follower.server)))

    def _failed(self, error: Exception) -> None:
        if not self._stop.is_set():
            # Once we stop, what is not recorded any more is simply left to the next listener.
            self._failure = error
        self._stop.set()

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._follow_all())
        except Exception as error:
            _log.exception("the listener's event loop has ended")
            self._failed(error)
        finally:
            self._loop_ready.set()

    async def _follow_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_ready.set()
        async with self._shared.connections:
            common = [
                asyncio.create_task(self._shared.sweeper.run(), name="the sweeper"),
                asyncio.create_task(self._rediscover(), name="rediscovery"),
            ]
            for task in common:
                task.add_done_callback(self._ended)
            for key, follower in self._followers.items():
                self._start(key, follower)
            await self._stopping.wait()
            tasks = [*common, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _rediscover(self) -> None:
        asking: set[asyncio.Task[None]] = set()
        pause = min(_REDISCOVERY_SECONDS, self._shared.patience.rediscover_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            for follower in self._followers.values():
                if follower.rediscovery_due:
                    task = asyncio.create_task(follower.rediscover())
                    asking.add(task)
                    task.add_done_callback(asking.discard)

    def _change(self, servers: Sequence[Server], known: dict[str, SavedPosition]) -> None:
        self._known = known
        before = self._followers
        followers: dict[str, ServerFollower] = {}
        for server in servers:
            key = _key(server)
            present = before.get(key)
            if present is not None and present.server == server:
                followers[key] = present
            else:
                # The same feed again, or with another token: it goes on from its position.
                followers[key] = self._follower(server, present or self._left.pop(key, None))
        self._followers = followers
        for key, follower in before.items():
            if followers.get(key) is not follower:
                if key not in followers:
                    self._left[key] = follower
                self._tasks[key].cancel()
        for key, follower in followers.items():
            if before.get(key) is not follower:
                self._start(key, follower, after=self._tasks.get(key))

    def _follower(self, server: Server, before: ServerFollower | None = None) -> ServerFollower:
        kept = before.kept if before else self._known.get(_key(server), SavedPosition())
        position = (
            before.position if before else FeedPosition(kept.last_id, overlap_ms(server.feed))
        )
        return ServerFollower(server, self._shared, position, kept, self._backoff())

    def _start(
        self, key: str, follower: ServerFollower, after: asyncio.Task[None] | None = None
    ) -> None:
        async def run() -> None:
            if after is not None:
                await asyncio.wait([after])
            await follower.run()

        task = asyncio.create_task(run(), name=key)
        task.add_done_callback(self._ended)
        self._tasks[key] = task

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s has failed", task.get_name(), exc_info=error)
            self._failed(error if isinstance(error, Exception) else RuntimeError(str(error)))


def _key(server: Server) -> str:
    return feed_key(server.base_url, server.feed)
