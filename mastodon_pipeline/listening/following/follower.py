"""Following one server: discover it, choose the way, stream or poll, come back from everything.

**What can be lost here, and what protects it.** What a server publishes while no stream is open
is read from its timeline afterwards (`GapFilling`), from the feed's position onwards, which
outlives the process. Not protected: a server whose timeline we may not read (said in the
statistics, with the bounds of what is missing), what it deleted meanwhile, edits and deletes while
no stream is open, and edits and deletes on polled servers: a timeline shows neither.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    DeliveryFailed,
    Refused,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.client.backoff import Backoff
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.patience import Patience
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.following.discoverer import Discoverer, Discovery
from mastodon_pipeline.listening.following.discovery import (
    NOTHING_REFUSED,
    PARKING_REFUSALS,
    STREAM_REFUSALS,
    Refusals,
    Way,
    after_refusal,
    choose_way,
    refusal_reason,
)
from mastodon_pipeline.listening.following.gaps import GapFilling
from mastodon_pipeline.listening.following.polling import poll_timeline
from mastodon_pipeline.listening.following.position import FeedPosition, Gap
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.recorder import RecordingListener, TootRecorder
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import Sweeper, follow_events
from mastodon_pipeline.listening.following.timeline import TimelineReader
from mastodon_pipeline.listening.following.websocket import follow_messages
from mastodon_pipeline.listening.records.record import ObservingServer
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

_log = logging.getLogger(__name__)


class _Parked(Exception):
    """This server refuses us, for the reason given; trying again soon would change nothing."""


@dataclass(frozen=True, slots=True)
class SharedByFollowers:
    """What all followers of a listener use together."""

    settings: Settings
    patience: Patience
    sink: TootSink
    seen: SeenToots
    connections: Connections
    budgets: RateBudgets
    discoverer: Discoverer
    sweeper: Sweeper
    failed: Callable[[Exception], None]
    """Told where nothing more can be recorded: the listener ends."""


class ServerFollower:
    """Follows one server. `run` is its task; every other method may be called from any thread."""

    def __init__(
        self,
        server: Server,
        shared: SharedByFollowers,
        position: FeedPosition,
        kept: SavedPosition,
        backoff: Backoff | None = None,
    ) -> None:
        self.server = server
        self.position = position
        self.statistics = ServerStatistics(server)
        self.statistics.unfilled_gaps = kept.unfilled_gaps
        self._shared = shared
        self.kept = kept
        """What is remembered of it in the position store by now."""
        self._remembered = kept.discovered
        """What an earlier listener was told; used once, for the first connection."""
        self._backoff = backoff or Backoff()
        self._refusals = NOTHING_REFUSED
        self._discovery: Discovery | None = None
        self._way: Way | None = None
        self._streaming: asyncio.Timeout | None = None
        self._recorder = TootRecorder(
            ObservingServer(server.base_url, server.name),
            shared.sink,
            shared.seen,
            position,
            self.statistics,
        )
        self._wanted_since = time.time_ns() // 1_000_000
        self._gaps = GapFilling(
            position,
            lambda page: self._recorder.page(page, "gap"),
            self.statistics,
            shared.failed,
        )

    async def run(self) -> None:
        """Follows the server until it is cancelled.

        Every failure becomes a wait, a parked state, or the next way.
        """
        try:
            while (wait := await self._follow_once()) is not None:
                await asyncio.sleep(wait)
        finally:
            await self._gaps.stop()
            self.statistics.set_state("stopped")

    async def rediscover(self) -> None:
        """Asks a server with a healthy stream again, and goes another way where it now must.

        Where the server does not answer well the stream goes on as it is; asked again later.
        """
        before, way = self._discovery, self._way
        if before is None or way is None:
            return
        self._discovery = replace(
            before, until=time.monotonic() + self._shared.patience.fresh_seconds
        )
        try:
            asked = await self._shared.discoverer.ask(self.server, self.server.token)
        except (Refused, Unreachable, UnsafeAddress, CrossHostRedirect) as error:
            _log.info("%s: could not be asked again: %s", self.server.name, error)
            return
        if self._way is not way or self._streaming is None:
            return  # The stream has ended meanwhile.
        self._take_discovery(asked)
        new = choose_way(self.server, asked.found, asked.token is not None, self._refusals)
        if replace(new, reason=way.reason) != way:
            _log.info("%s: listened to differently from now on: %s", self.server.name, new.reason)
            self._streaming.reschedule(asyncio.get_running_loop().time())

    @property
    def rediscovery_due(self) -> bool:
        """Whether its stream is open and it has not been asked for an hour."""
        found = self._discovery
        return self._streaming is not None and found is not None and time.monotonic() >= found.until

    def keep_position(self, write: Callable[[SavedPosition], None]) -> None:
        """Writes what is to be remembered of the server, where it has changed."""
        # In this order: a gap is told of before the position passes it.
        last_id = self.position.safe()
        found = self._discovery.found if self._discovery else self.kept.discovered
        kept = SavedPosition(last_id, self.statistics.unfilled_gaps, found)
        if kept != self.kept:
            write(kept)
            self.kept = kept

    async def _follow_once(self) -> float | None:
        """Follows until something ends it; the seconds to wait, or None where all has ended."""
        try:
            self.statistics.set_state("connecting")
            return self._waiting(await self._follow())
        except _Parked as parked:
            self.statistics.set_state("parked", str(parked))
            _log.warning("%s is parked: %s", self.server.name, parked)
            self._refusals = NOTHING_REFUSED
            self._discovery = None
            return self._shared.patience.parked_seconds * random.uniform(1.0, 1.1)
        except DeliveryFailed as error:
            self._shared.failed(error)
            return None
        except Refused as refused:
            return self._waiting(f"the server answers {refused}")
        except Unreachable as error:
            return self._waiting(str(error))
        except Exception as error:
            _log.exception("%s: an error we did not foresee", self.server.name)
            return self._waiting(f"{type(error).__name__}: {error}")

    def _waiting(self, reason: str) -> float:
        refused_for = self._shared.budgets.of(self.server.base_url).refused_for()
        wait = max(self._backoff.next_wait(), refused_for)
        self.statistics.set_state("waiting", f"{reason}; again in {wait:.0f} s")
        _log.info("%s: %s; again in %.1f s", self.server.name, reason, wait)
        return wait

    async def _follow(self) -> str:
        """Follows the server the ways it allows; why the last one has ended."""
        while True:
            refused_for = self._shared.budgets.of(self.server.base_url).refused_for()
            if refused_for > 0:  # Another feed of this host was told to wait.
                self.statistics.set_state("waiting", f"the host wants {refused_for:.0f} s of quiet")
                await asyncio.sleep(refused_for)
            try:
                discovery = await self._discovered()
                way = choose_way(
                    self.server, discovery.found, discovery.token is not None, self._refusals
                )
                if way.kind == "park":
                    raise _Parked(way.reason)
                try:
                    ended = await self._go(way, discovery)
                except Refused as refused:
                    if not self._note(refused, way, discovery):
                        raise
                    continue
                if ended is not None:
                    return ended
            except (UnsafeAddress, CrossHostRedirect) as error:
                raise _Parked(str(error)) from None
            except Refused as refused:
                if refused.status not in PARKING_REFUSALS:
                    raise
                known = self._discovery
                has_token = known.token is not None if known else self.server.token is not None
                raise _Parked(refusal_reason(self.server, refused, has_token)) from None

    async def _discovered(self) -> Discovery:
        if self._remembered is not None:
            remembered, self._remembered = self._remembered, None
            token = self.server.token
            self._take_discovery(self._shared.discoverer.remembered(token, remembered))
        known = self._discovery
        if known is not None and time.monotonic() < known.until:
            return known
        try:
            asked = await self._shared.discoverer.ask(self.server, self.server.token)
        except (Refused, Unreachable) as error:
            refuses = isinstance(error, Refused) and error.status in {*PARKING_REFUSALS, 429}
            if known is None or refuses:
                raise
            # It is not well today; what it said before still leads to its stream or timeline.
            self._discovery = replace(
                known, until=time.monotonic() + self._shared.patience.fresh_seconds
            )
            return self._discovery
        if known is not None:
            self._refusals = NOTHING_REFUSED  # An hour later it may let us in.
        self._take_discovery(asked)
        return asked

    def _take_discovery(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._recorder.observer = ObservingServer(self.server.base_url, discovery.found.domain)
        if discovery.token_refusal is not None:
            self._refusals = Refusals(stream=discovery.token_refusal)

    async def _go(self, way: Way, discovery: Discovery) -> str | None:
        """Streams or polls; why that has ended, or None where the way is to be chosen anew."""
        shared = self._shared
        reader = TimelineReader(
            self.server.base_url,
            way.feed,
            discovery.token if way.with_token else None,
            shared.connections,
            shared.budgets.of(self.server.base_url),
            self._wanted_since,
            self._refused if way.kind == "poll" else None,
        )
        if way.kind == "poll":
            await poll_timeline(
                reader,
                self._recorder,
                shared.settings.mastodon_poll_interval_seconds,
                shared.patience.overlap_every_seconds,
                discovery.until,
                lambda: self._polled(way),
            )
            return None
        assert discovery.token is not None
        listener = RecordingListener(self._recorder, lambda: self._connected(way, reader))
        try:
            async with asyncio.timeout(None) as self._streaming:
                if way.kind == "stream":
                    await follow_events(
                        way, discovery.token, listener, shared.connections, shared.sweeper
                    )
                else:
                    await follow_messages(way, discovery.token, listener, shared.connections)
        except TimeoutError:
            return None  # `rediscover` has ended it: those of the network are Unreachable.
        finally:
            self._streaming = self._way = None
        return "the stream ended"

    def _note(self, refused: Refused, way: Way, discovery: Discovery) -> bool:
        """Whether to choose again after this refusal: what the server says may be old."""
        if refused.status == 429:
            budget = self._shared.budgets.of(self.server.base_url)
            budget.observe(refused.status, refused.headers)
        next_refusals = after_refusal(self._refusals, way, refused)
        stale = time.monotonic() - discovery.asked_at > self._shared.patience.fresh_seconds
        if stale and refused.status in STREAM_REFUSALS:
            self._discovery = None
        elif next_refusals is not None:
            self._refusals = next_refusals
        else:
            return False
        _log.info("%s refuses to %s: %s", self.server.name, way.kind, refused)
        return True

    def _refused(self, wait: float) -> None:
        told = f"the server answers 429 Too Many Requests; again in {wait:.0f} s"
        self.statistics.set_state("waiting", told)

    def _polled(self, way: Way) -> None:
        self._backoff.connected()
        self.statistics.set_state("polling", way.reason)

    def _connected(self, way: Way, reader: TimelineReader) -> Gap:
        statistics = self.statistics
        cut_at = None
        if statistics.connects:
            silent_for = time.monotonic() - statistics.last_activity_at
            cut_at = int((time.time() - silent_for) * 1000)
        self._way = way
        self._backoff.connected()
        statistics.connects += 1
        statistics.note_activity()
        if way.kind == "stream":
            statistics.set_state("streaming")
        else:
            statistics.set_state("websocket", way.reason)
        gap = self.position.open_gap(cut_at)
        self._gaps.add(gap, reader)
        return gap
