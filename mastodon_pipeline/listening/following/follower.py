"""Following one server: choose a mode, stream or poll, recover from every failure.

**What can be lost here, and what protects it.** What a server publishes while no stream is open
is read from its timeline afterwards (`GapFiller`), from the feed's position on, which outlives the
process. Not protected: a server whose timeline we may not read (reported in the statistics, with
start and end of what is missing), what the server deleted meanwhile, edits and deletes while no
stream is open, and edits and deletes on polled servers: a timeline shows neither.
"""

import asyncio
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    DeliveryFailed,
    Refused,
    ServerError,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.pacing import Backoff, Timings
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.client.robots import RobotsFiles
from mastodon_pipeline.listening.following.comparison import StreamComparison
from mastodon_pipeline.listening.following.gaps import GapFiller
from mastodon_pipeline.listening.following.instance import InstanceAnswer, InstanceProbe
from mastodon_pipeline.listening.following.mode import PARKING_REFUSALS, Mode, refusal_reason
from mastodon_pipeline.listening.following.mode_selector import ModeSelector
from mastodon_pipeline.listening.following.polling import poll_timeline
from mastodon_pipeline.listening.following.position import FeedPosition
from mastodon_pipeline.listening.following.position_store import SavedPosition
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.retries import Retries
from mastodon_pipeline.listening.following.robots_rules import (
    known_rules,
    refusal_of_api,
    refusal_of_stream,
)
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.streaming import Sweeper, follow_stream
from mastodon_pipeline.listening.following.timeline import Paging, TimelineReader
from mastodon_pipeline.listening.following.websocket import follow_websocket
from mastodon_pipeline.listening.records.people import People
from mastodon_pipeline.listening.records.record import ObservingServer
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

_log = logging.getLogger(__name__)


class _Parked(Exception):
    """The server refuses us, for this reason; another attempt soon would not change that."""


@dataclass(frozen=True, slots=True)
class ListenerResources:
    """What all followers of a listener share."""

    settings: Settings
    timings: Timings
    sink: TootSink
    seen: SeenToots
    connections: Connections
    budgets: RateBudgets
    probe: InstanceProbe
    robots: RobotsFiles
    people: People
    sweeper: Sweeper
    on_failure: Callable[[Exception], None]
    """Called when nothing more can be recorded: it ends the listener."""


class ServerFollower:
    """Follows one server. `run` is its task; every other method may be called from any thread."""

    def __init__(
        self,
        server: Server,
        resources: ListenerResources,
        position: FeedPosition,
        saved: SavedPosition,
        backoff: Backoff | None = None,
    ) -> None:
        self.server = server
        self.position = position
        self.statistics = ServerStatistics(server)
        self.statistics.unfilled_gaps = saved.unfilled_gaps
        self.saved = saved
        """What the position store has of the feed."""
        self._resources = resources
        for rules in saved.robots:
            resources.robots.remember(rules)
        self._budget = resources.budgets.for_host(server.base_url)
        self.statistics.traffic, self.statistics.budget = self._budget.traffic, self._budget
        self._selector = ModeSelector(server, resources.probe, resources.timings, saved.instance)
        self._mode: Mode | None = None
        """The mode of the open stream; None while there is none."""
        self._stream_timeout: asyncio.Timeout | None = None
        self._paging = Paging()
        self._wanted_since = saved.wanted_since_ms or time.time_ns() // 1_000_000
        self._recorder = TootRecorder(
            ObservingServer(server.base_url, server.name),
            resources.sink,
            resources.seen,
            position,
            self.statistics,
            resources.people,
        )
        self._retries = Retries(
            self.statistics, backoff or Backoff(), self._budget, self._poll, resources.on_failure
        )
        self._gaps = GapFiller(
            self._recorder, resources.on_failure, resources.timings.gap_refusal_seconds
        )

    async def run(self) -> None:
        """Follow the server until cancelled.

        Every failure becomes a wait, the parked state, or the next mode.
        """
        try:
            while (wait := await self._attempt()) is not None:
                await self._retries.wait(wait)
        finally:
            await self._gaps.stop()
            self.statistics.set_state("stopped")

    @property
    def recheck_due(self) -> bool:
        """Whether the stream is open and the server's instance info has expired."""
        return self._stream_timeout is not None and self._selector.expired

    async def recheck_mode(self) -> None:
        """Fetch the instance info of a healthy stream's server; change the mode if it requires it.

        If that fails the stream goes on, and the info is fetched again later.
        """
        mode = self._mode
        answer = await self._selector.refetch() if mode is not None else None
        if mode is None or answer is None:
            return
        refused = await self._robots_refuse(mode)
        if self._mode is not mode or self._stream_timeout is None:
            return  # The stream has ended meanwhile.
        self._selector.accept(answer)
        self._use(answer)
        if refused:
            self._end_stream()
            return
        new_mode = self._selector.mode()
        if replace(new_mode, reason=mode.reason, note=mode.note) != mode:
            _log.info("%s: following it in another mode: %s", self.server.name, new_mode.words)
            self._end_stream()

    def save_position(self, write: Callable[[SavedPosition], None]) -> None:
        """Write what the position store is to have of the feed, if it has changed."""
        # In this order: a gap is saved before the position passes it.
        last_id = self.position.advance()
        instance = self._selector.info or self.saved.instance
        gaps = self.statistics.unfilled_gaps
        streaming_url = instance.streaming_url if instance else ""
        robots = known_rules(self.server, streaming_url, self._resources.robots)
        current = SavedPosition(
            last_id, gaps, instance, self._wanted_since, robots, self.saved.from_landed
        )
        if current != self.saved:
            write(current)
            self.saved = current

    async def _attempt(self) -> float | None:
        """Follow until something ends it; return the seconds to wait, or None to end."""
        try:
            self.statistics.set_state("connecting")
            return self._retries.seconds_after(await self._follow())
        except _Parked as parked:
            self.statistics.set_state("parked", str(parked))
            _log.warning("%s is parked: %s", self.server.name, parked)
            self._selector.reset()
            self._retries.note_parked()
            return self._resources.timings.parked_seconds * random.uniform(1.0, 1.1)
        except DeliveryFailed as error:
            self._resources.on_failure(error)
            return None
        except Refused as refused:
            has_token = self._selector.has_token
            return self._retries.seconds_after(refusal_reason(self.server, refused, has_token))
        except Unreachable as error:
            return self._retries.seconds_after(str(error))
        except Exception as error:
            _log.exception("%s: unexpected error", self.server.name)
            return self._retries.seconds_after(f"{type(error).__name__}: {error}")

    async def _follow(self) -> str:
        """Follow the server in the modes that it allows; return why the last one has ended."""
        while True:
            refused_for = self._budget.refused_for()
            if refused_for > 0:  # Another feed of this host was refused with a 429.
                reason = f"the host answers 429 Too Many Requests; again in {refused_for:.0f} s"
                self.statistics.set_state("waiting", reason)
                await asyncio.sleep(refused_for)
            try:
                robots = self._resources.robots
                self._check_not_blocked(self.server.name)
                if refusal := await refusal_of_api(self.server, robots):
                    raise _Parked(refusal)
                answer = await self._selector.answer()
                self._use(answer)
                self._check_not_blocked(self._recorder.observer.domain)
                mode = self._selector.mode()
                if mode.kind == "park":
                    raise _Parked(mode.words)
                if (refused_stream := await refusal_of_stream(mode, robots)) is not None:
                    self._selector.note_stream_refusal(refused_stream)
                    continue
                try:
                    ended = await self._follow_in(mode, answer)
                except Refused as refused:
                    self._budget.observe_refusal(refused.status, refused.headers)
                    if not self._selector.note_refusal(refused, mode):
                        raise
                    _log.info("%s refuses to %s: %s", self.server.name, mode.kind, refused)
                    continue
                if ended is not None:
                    return ended
            except (UnsafeAddress, CrossHostRedirect) as error:
                raise _Parked(str(error)) from None
            except Refused as refused:
                if refused.status not in PARKING_REFUSALS or refused.is_bot_wall:
                    raise
                reason = refusal_reason(self.server, refused, self._selector.has_token)
                raise _Parked(reason) from None

    async def _follow_in(self, mode: Mode, answer: InstanceAnswer) -> str | None:
        """Stream or poll; return why that has ended, or None if the mode is to be chosen again."""
        resources = self._resources
        reader = TimelineReader(
            self.server.base_url,
            mode.feed,
            answer.token if mode.with_token else None,
            resources.connections,
            self._budget,
            self._wanted_since,
            self._on_429 if mode.kind == "poll" else None,
            self.statistics.note_headers,
            self._paging,
        )
        if mode.kind == "poll":
            await self._poll(reader, answer.valid_until, partial(self._on_page, mode, reader))
            return None
        assert answer.token is not None
        self._retries.note_opening(reader)
        token, recorder, connections = answer.token, self._recorder, resources.connections
        on_open = partial(self._on_open, mode, reader)
        comparing = asyncio.create_task(
            StreamComparison(reader, recorder, self._gaps, resources.timings).run(
                self._end_stream, resources.on_failure
            )
        )
        try:
            async with asyncio.timeout(None) as self._stream_timeout:
                if mode.kind == "stream":
                    sweeper = resources.sweeper
                    await follow_stream(mode, token, recorder, connections, sweeper, on_open)
                else:
                    await follow_websocket(mode, token, recorder, connections, on_open)
        except TimeoutError:
            # From `_end_stream`: those of the network are Unreachable.
            return None
        finally:
            comparing.cancel()
            self._stream_timeout = self._mode = None
        return "the stream ended"

    async def _poll(
        self, reader: TimelineReader, until: float, on_page: Callable[[], None]
    ) -> None:
        """Poll the timeline until `until`, monotonic seconds."""
        resources = self._resources
        await poll_timeline(
            reader,
            self._recorder,
            resources.settings.mastodon_poll_interval_seconds,
            resources.timings.overlap_reread_seconds,
            until,
            on_page,
        )

    def _check_not_blocked(self, name: str) -> None:
        if self._resources.people.rules.blocks_server(server_name(name)):
            raise _Parked(f"{name} is on a block list (BLOCKLIST): take it off there, or off here")

    async def _robots_refuse(self, mode: Mode) -> bool:
        """Return whether the robots.txt of the server's hosts refuses the open stream by now."""
        robots = self._resources.robots
        try:
            return bool(
                await refusal_of_api(self.server, robots) or await refusal_of_stream(mode, robots)
            )
        except ServerError:
            return False  # Nothing new is known.

    def _end_stream(self) -> None:
        """End the open stream, in order to choose the mode again."""
        if self._stream_timeout is not None:
            self._stream_timeout.reschedule(asyncio.get_running_loop().time())

    def _use(self, answer: InstanceAnswer) -> None:
        self._recorder.observer = ObservingServer(
            # The info that an older listener saved may spell the domain otherwise.
            self.server.base_url,
            server_name(answer.info.domain),
            answer.info.noindex_by_default,
        )

    def _on_429(self, wait: float) -> None:
        reason = f"the server answers 429 Too Many Requests; again in {wait:.0f} s"
        self.statistics.set_state("waiting", reason)

    def _on_page(self, mode: Mode, reader: TimelineReader) -> None:
        self._retries.note_connected()
        self.statistics.set_state("polling", "; ".join(filter(None, (mode.words, reader.note))))

    def _on_open(self, mode: Mode, reader: TimelineReader) -> None:
        statistics = self.statistics
        cut_at = None
        if statistics.connects:
            silent_seconds = time.monotonic() - statistics.last_activity_at
            cut_at = int((time.time() - silent_seconds) * 1000)
        self._mode = mode
        self._retries.note_open()
        statistics.connects += 1
        statistics.traffic.requests += 1
        statistics.note_activity()
        if mode.kind == "stream":
            statistics.set_state("streaming", mode.note)
        else:
            statistics.set_state("websocket", mode.words)
        self._recorder.gap = self.position.open_gap(cut_at)
        self._gaps.add(self._recorder.gap, reader)
