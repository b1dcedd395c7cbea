"""Following any number of servers at once, until stopped.

One thread runs an event loop in which every server is a task, isolated from the others; a second
one serves delivery reports; the calling thread saves positions and calls `beat`, even while the
event loop waits for room in the producer's queue. Stopping takes seconds, whatever the tasks wait
for.
"""

import asyncio
import logging
import math
import resource
import time
from collections.abc import Callable, Sequence
from functools import partial
from threading import Event, Thread
from uuid import uuid4

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Backoff, Timings
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.client.robots import RobotsFiles
from mastodon_pipeline.listening.following.cancellation import is_cancelled
from mastodon_pipeline.listening.following.follower import ListenerResources, ServerFollower
from mastodon_pipeline.listening.following.instance import InstanceProbe
from mastodon_pipeline.listening.following.position import FeedPosition, overlap_ms
from mastodon_pipeline.listening.following.position_store import (
    PositionStore,
    SavedPosition,
    feed_key,
)
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import Sweeper
from mastodon_pipeline.listening.following.tally import SavedTally
from mastodon_pipeline.listening.records.people import People
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

SAVE_POSITIONS_SECONDS = 2.0
"""How often positions are saved: after a kill about that much is read twice."""
SAVE_TALLIES_SECONDS = 10.0
"""How often tallies are saved: after a kill about that much is acknowledged and not tallied."""
REFRESH_PEOPLE_SECONDS = 10.0
"""How often the block lists' files are looked at."""
CHECK_TOPIC_SECONDS = 5.0
"""How often Kafka is asked whether it still has what it acknowledged."""
_RECHECK_SECONDS = 5.0
_STOP_SECONDS = 3.0
_FLUSH_SECONDS = 10.0
_OPEN_FILES = (1_048_576, 65_536, 10_240)
"""Limits to ask for if the hard one is not granted; the last is macOS's OPEN_MAX."""
_log = logging.getLogger(__name__)


def allow_many_connections() -> None:
    """Raise this process's limit of open files as far as it may: each stream is one.

    The usual limit, 1024, is too low for a thousand servers. macOS calls the hard limit unlimited
    and refuses to grant that, so smaller ones are tried; whatever is granted has to do.
    """
    soft_limit, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft_limit == resource.RLIM_INFINITY:
        return
    for limit in (hard_limit, *_OPEN_FILES):
        if limit == resource.RLIM_INFINITY or limit > soft_limit:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard_limit))
            except (ValueError, OSError):
                continue
            return


class Listener:
    """Follows `servers` into `sink`, from their saved `positions` on."""

    def __init__(
        self,
        servers: Sequence[Server],
        settings: Settings,
        sink: TootSink,
        positions: PositionStore,
        stop: Event | None = None,
        backoff: Callable[[], Backoff] = Backoff,
        timings: Timings = DEFAULT_TIMINGS,
        seen: SeenToots | None = None,
        people: People | None = None,
    ) -> None:
        """`people`: whose toots are recorded; by default as the settings say.

        Raises SettingsError if a block list cannot be read.
        """
        self._stop = stop or Event()
        self._sink = sink
        self._positions = positions
        self._backoff = backoff
        self._failure: Exception | None = None
        self._saved = positions.read(tuple(map(_key, servers)))
        budgets = RateBudgets()
        self._resources = ListenerResources(
            settings,
            timings,
            sink,
            seen or SeenToots(),
            Connections(settings, timings),
            budgets,
            InstanceProbe(settings, budgets, timings),
            RobotsFiles(settings, budgets, timings),
            people or People(settings),
            Sweeper(timings.silence_seconds),
            self._fail,
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_ready = Event()
        self._stopping = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._followers = {_key(server): self._follower(server) for server in servers}
        self._run = uuid4().hex
        self._started_at = time.time_ns() // 1_000_000
        self._unsaved: set[str] = set()
        """The feeds whose positions could not be saved the last time."""
        self._dropped: dict[str, ServerFollower] = {}
        """Followers of servers that are no longer wanted; their last toots are being sent."""

    @property
    def statistics(self) -> list[ServerStatistics]:
        """Each server's state and counts."""
        return [follower.statistics for follower in self._followers.values()]

    def stop(self) -> None:
        """Make `run` return within seconds; callable from any thread and from `beat`."""
        self._stop.set()

    def change_servers(self, servers: Sequence[Server]) -> None:
        """Follow exactly these servers from now on, without disturbing those that stay.

        Callable from any thread and from `beat`, while `run` runs. A new server is followed from
        its saved position on. Raises what the position store's `read` raises; then nothing changes.
        """
        loop = self._loop
        assert loop is not None, "call run first"
        saved = self._positions.read(tuple(map(_key, servers)))
        loop.call_soon_threadsafe(self._change, tuple(servers), saved)

    def release_servers(self) -> None:
        """Follow no server until `change_servers`; callable from any thread, needs no Kafka."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(lambda: self._change((), self._saved))

    def run(self, beat: Callable[[], None] = lambda: None, beat_seconds: float = 0.5) -> None:
        """Listen until `stop`; call `beat` every `beat_seconds` seconds in this thread.

        However it ends, by `stop`, by an exception of `beat` or by an interrupt in this thread:
        what has been read is flushed and the positions are saved.

        Raises:
            DeliveryFailed: Kafka did not take what was read.
            SettingsError: a block list cannot be read any more.
        """
        allow_many_connections()
        following = Thread(target=self._run_loop, name="listening", daemon=True)
        reports = Thread(
            target=self._poll_sink, args=(beat_seconds,), name="delivery reports", daemon=True
        )
        checks = Thread(target=self._check_topic, name="topic checks", daemon=True)
        try:
            following.start()
            reports.start()
            checks.start()
            saved_at = (
                -math.inf
            )  # At once: the next listener has to know since when feeds are wanted.
            tallied_at = refreshed_at = time.monotonic()
            while not self._stop.wait(beat_seconds):
                if time.monotonic() - saved_at >= SAVE_POSITIONS_SECONDS:
                    self._save_positions()
                    saved_at = time.monotonic()
                if time.monotonic() - tallied_at >= SAVE_TALLIES_SECONDS:
                    self._save_tallies()
                    tallied_at = time.monotonic()
                if time.monotonic() - refreshed_at >= REFRESH_PEOPLE_SECONDS:
                    self._refresh_people()
                    refreshed_at = time.monotonic()
                beat()
        finally:
            self._finish(following)
        if self._failure is not None:
            raise self._failure

    def _refresh_people(self) -> None:
        try:
            self._resources.people.refresh()
        except SettingsError as error:
            # A list that cannot be read blocks everybody: nothing may be recorded.
            self._fail(error)

    def _poll_sink(self, interval_seconds: float) -> None:
        # Not in the main thread: an interrupt inside a delivery report would lose the report, and
        # become a SystemError of the producer.
        while not self._stop.wait(interval_seconds):
            try:
                self._sink.poll()
            except Exception as error:
                self._fail(error)

    def _check_topic(self) -> None:
        # In a thread of its own: Kafka may take seconds to answer.
        while not self._stop.wait(CHECK_TOPIC_SECONDS):
            try:
                self._positions.check()
            except Exception as error:
                self._fail(error)

    def _finish(self, following: Thread) -> None:
        self._stop.set()
        started = following.ident is not None
        if started:
            self._loop_ready.wait(_STOP_SECONDS)
            if self._loop is not None and not self._loop.is_closed():
                self._loop.call_soon_threadsafe(self._stopping.set)
            following.join(_STOP_SECONDS)
        try:
            # The loop may still wait for room in the producer's queue: closing the sink ends that.
            self._sink.close(_FLUSH_SECONDS)
        finally:
            self._save_positions()
            self._save_tallies(ended=True)
            self._positions.flush()
            if started:
                following.join(_STOP_SECONDS)

    def _save_positions(self) -> None:
        for follower in (*self._followers.values(), *self._dropped.values()):
            key = _key(follower.server)
            try:
                follower.save_position(partial(self._positions.write, key))
            except Exception:
                # The others' positions are still wanted; this one is tried again.
                if key not in self._unsaved:
                    _log.exception("%s: its position cannot be saved", key)
                self._unsaved.add(key)
            else:
                self._unsaved.discard(key)

    def _save_tallies(self, *, ended: bool = False) -> None:
        now = time.time_ns() // 1_000_000
        for follower in (*self._followers.values(), *self._dropped.values()):
            template = SavedTally(
                self._run,
                self._started_at,
                follower.server.base_url,
                0,
                ended=ended,
                written_at=now,
                from_landed=follower.saved.from_landed,
            )
            tallies = follower.position.tallies
            for tally in tallies.changed(template):
                if self._positions.write_tally(tally):
                    tallies.note_saved(tally)

    def _fail(self, error: Exception) -> None:
        if not self._stop.is_set():
            # While stopping, what is not recorded any more is left to the next listener.
            self._failure = error
        self._stop.set()

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._follow_all())
        except Exception as error:
            _log.exception("the listener's event loop has failed")
            self._fail(error)
        finally:
            self._loop_ready.set()

    async def _follow_all(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop_ready.set()
        async with self._resources.connections:
            common = [
                asyncio.create_task(self._resources.sweeper.run(), name="the sweeper"),
                asyncio.create_task(self._recheck_modes(), name="the mode checks"),
            ]
            for task in common:
                task.add_done_callback(self._on_task_done)
            for key, follower in self._followers.items():
                self._start(key, follower)
            await self._stopping.wait()
            tasks = [*common, *self._tasks.values()]
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _recheck_modes(self) -> None:
        checks: set[asyncio.Task[None]] = set()
        pause = min(_RECHECK_SECONDS, self._resources.timings.info_max_age_seconds / 4)
        while True:
            await asyncio.sleep(pause)
            for follower in self._followers.values():
                if follower.recheck_due:
                    task = asyncio.create_task(follower.recheck_mode())
                    checks.add(task)
                    task.add_done_callback(checks.discard)

    def _change(self, servers: Sequence[Server], saved: dict[str, SavedPosition]) -> None:
        self._saved = saved
        before = self._followers
        followers: dict[str, ServerFollower] = {}
        for server in servers:
            key = _key(server)
            present = before.get(key)
            if present is not None and present.server == server:
                followers[key] = present
            else:
                # The same feed again, or with another token: it continues from its position.
                followers[key] = self._follower(server, present or self._dropped.pop(key, None))
        self._followers = followers
        for key, follower in before.items():
            if followers.get(key) is not follower:
                if key not in followers:
                    self._dropped[key] = follower
                self._tasks[key].cancel()
        for key, follower in followers.items():
            if before.get(key) is not follower:
                self._start(key, follower, after=self._tasks.get(key))

    def _follower(self, server: Server, before: ServerFollower | None = None) -> ServerFollower:
        if before is not None:
            saved, position = before.saved, before.position
        else:
            saved = self._saved.get(_key(server), SavedPosition())
            position = FeedPosition(saved.last_id, overlap_ms(server.feed))
        return ServerFollower(server, self._resources, position, saved, self._backoff())

    def _start(
        self, key: str, follower: ServerFollower, after: asyncio.Task[None] | None = None
    ) -> None:
        async def run() -> None:
            if after is not None:
                await asyncio.wait([after])
            backoff = self._backoff()
            while True:
                try:
                    await follower.run()
                    return
                except (Exception, asyncio.CancelledError) as error:
                    if is_cancelled():
                        raise
                    # A defect of ours that this server's data brings to light: the others go on.
                    _log.exception("%s has failed", key)
                    reason = f"unexpected error: {type(error).__name__}: {error}"
                    follower.statistics.set_state("waiting", reason)
                    await asyncio.sleep(backoff.next_wait())

        task = asyncio.create_task(run(), name=key)
        task.add_done_callback(self._on_task_done)
        self._tasks[key] = task

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("%s has failed", task.get_name(), exc_info=error)
            self._fail(error if isinstance(error, Exception) else RuntimeError(str(error)))


def _key(server: Server) -> str:
    return feed_key(server.base_url, server.feed)
