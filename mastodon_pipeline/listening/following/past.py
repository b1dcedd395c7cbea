"""Reading a server's past: its public timeline backward, from one moment to an earlier one.

It runs beside any listener, in another process, with half of what the server allows an address,
spread evenly. Each page is in Kafka before the position passes it, so a reading that is interrupted
continues with the page after; a toot that a listener has recorded as well counts once.

**What can be lost here:** nothing that the timeline shows. It shows neither deleted toots nor those
of people who have left, and of an edited toot its last version alone.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from threading import Event, Thread
from typing import TypeVar
from uuid import uuid4

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    InvalidRecord,
    PastUnreadable,
    Refused,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Backoff, Timings
from mastodon_pipeline.listening.client.rate_budget import RateBudget, RateBudgets
from mastodon_pipeline.listening.client.robots import RobotsFiles
from mastodon_pipeline.listening.following.instance import InstanceProbe
from mastodon_pipeline.listening.following.mode import PARKING_REFUSALS, refusal_reason
from mastodon_pipeline.listening.following.mode_selector import ModeSelector
from mastodon_pipeline.listening.following.position import FeedPosition, overlap_ms
from mastodon_pipeline.listening.following.position_store import (
    PositionStore,
    SavedPosition,
    feed_key,
)
from mastodon_pipeline.listening.following.recorder import TootRecorder
from mastodon_pipeline.listening.following.robots_rules import refusal_of_api
from mastodon_pipeline.listening.following.statistics import ServerStatistics, format_utc
from mastodon_pipeline.listening.following.tally import SavedTally, Tallies, tally_source
from mastodon_pipeline.listening.following.timeline import NEWEST_PAGE_ONLY, TimelineReader
from mastodon_pipeline.listening.protocol.ids import listed_at, moved_back
from mastodon_pipeline.listening.protocol.statuses import decode_status, status_id_of
from mastodon_pipeline.listening.records.people import People
from mastodon_pipeline.listening.records.record import ObservingServer, milliseconds
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import TootSink
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

SHARE = 0.5
"""Of what the server allows; the other half is left to a listener at the same address."""
T = TypeVar("T")
_POLL_SECONDS = 0.02
_STOP_SECONDS = 10.0
_FLUSH_SECONDS = 10.0


@dataclass(slots=True)
class PastProgress:
    """How far a reading has come. Times are UTC milliseconds."""

    since: int
    until: int
    """The end of the period: where reading began, this time or before it was interrupted."""
    reached: int
    """Everything posted from here to `until` is in Kafka."""
    toots: int = 0
    dead_letters: int = 0
    waiting: str = ""
    """Why the server is not being read at the moment; '' if it is."""

    def line(self) -> str:
        """Return one line for a log or a terminal."""
        waiting = f"; waiting: {self.waiting}" if self.waiting else ""
        return f"read back to {format_utc(self.reached)} UTC: {self.toots} toots{waiting}"


@dataclass(frozen=True, slots=True)
class _Page:
    statuses: list[bytes]
    posted: list[int | None] = field(init=False)
    """When each was posted, UTC milliseconds; None if that cannot be decoded."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "posted", [_posted_at(status) for status in self.statuses])

    @property
    def oldest_id(self) -> str:
        return next(filter(None, map(status_id_of, self.statuses)), "")

    def reached(self) -> int | None:
        """Return the moment after which nothing follows on earlier pages; None if unknown."""
        listed = listed_at(self.oldest_id, _now())
        if listed is not None:
            return listed
        return max((posted for posted in self.posted if posted is not None), default=None)


class PastReading:
    """Reads what a server lists as posted from `since` to `until` into `sink`, newest first."""

    def __init__(
        self,
        server: Server,
        since: int,
        until: int | None,
        settings: Settings,
        sink: TootSink,
        positions: PositionStore,
        timings: Timings = DEFAULT_TIMINGS,
        backoff: Callable[[], Backoff] = Backoff,
    ) -> None:
        """`since`, `until`: UTC milliseconds.

        Without `until` the period ends now, or where an earlier reading of this feed began: that
        one is continued. So it is with the same `until`. Raises what the store's `read` raises, and
        SettingsError if a block list cannot be read.
        """
        self._server = server
        self._settings = settings
        self._people = People(settings)
        self._sink = sink
        self._positions = positions
        self._timings = timings
        self._backoff = backoff
        self._key = feed_key(server.base_url, f"{server.feed}-past")
        saved = positions.read().get(self._key, SavedPosition())
        continued = saved.last_id is not None and until in (None, saved.wanted_since_ms)
        self._before = (saved.last_id or "") if continued else ""
        end = (saved.wanted_since_ms if continued else until) or _now()
        reached = listed_at(self._before, _now()) if self._before else None
        self.progress = PastProgress(since, end, min(end, reached) if reached else end)
        self._margin = overlap_ms(server.feed)
        self._run_id, self._started_at = uuid4().hex, _now()
        self._tallies = Tallies()
        self._stop = Event()
        self._done = Event()
        self._failure: Exception | None = None

    @property
    def continues(self) -> bool:
        """Whether an earlier reading of the same period is continued."""
        return self._before != ""

    def run(self, beat: Callable[[], None] = lambda: None, beat_seconds: float = 0.2) -> None:
        """Read until the period is read or the timeline begins; call `beat` in this thread.

        However it ends, by an exception of `beat` or by an interrupt in this thread: the pages that
        the position has passed are in Kafka.

        Raises:
            PastUnreadable: the server refuses us, or shows its newest page only.
            DeliveryFailed: Kafka did not take what was read.
            SettingsError: a block list cannot be read any more.
        """
        reading = Thread(target=self._run_loop, name="the past", daemon=True)
        reading.start()
        try:
            while not self._done.wait(beat_seconds):
                beat()
            beat()
        finally:
            self._stop.set()
            reading.join(_STOP_SECONDS)
            try:
                self._sink.close(_FLUSH_SECONDS)
            finally:
                self._save_tallies(ended=True)
                self._positions.flush()
        if self._failure is not None:
            raise self._failure

    def _run_loop(self) -> None:
        try:
            asyncio.run(self._read_until_stopped())
        except Exception as error:
            self._failure = error
        finally:
            self._done.set()

    async def _read_until_stopped(self) -> None:
        reading = asyncio.create_task(self._read())
        while not reading.done():
            await asyncio.wait([reading], timeout=0.1)
            if self._stop.is_set():
                reading.cancel()
        if not reading.cancelled():
            reading.result()

    async def _read(self) -> None:
        async with Connections(self._settings, self._timings) as connections:
            budgets = RateBudgets()
            probe = InstanceProbe(self._settings, budgets, self._timings)
            robots = RobotsFiles(self._settings, budgets, self._timings)
            selector = ModeSelector(self._server, probe, self._timings, None)
            self._check_not_blocked(self._server.name)
            refusal = partial(refusal_of_api, self._server, robots)
            if reason := await self._retried(refusal, selector):
                raise PastUnreadable(f"{self._server.name}: {reason}")
            answer = await self._retried(selector.answer, selector)
            mode = selector.mode()
            if mode.kind == "park":
                raise PastUnreadable(f"{self._server.name}: {mode.words}")
            self._check_not_blocked(answer.info.domain)
            budget = RateBudget(SHARE)
            if (rules := robots.known(self._server.base_url)) is not None:
                budget.crawl_delay_seconds = rules.crawl_delay_seconds
            reader = TimelineReader(
                self._server.base_url,
                mode.feed,
                answer.token if mode.with_token else None,
                connections,
                budget,
                on_429=self._note_429,
            )
            observer = ObservingServer(
                self._server.base_url,
                server_name(answer.info.domain),
                answer.info.noindex_by_default,
            )
            await self._read_pages(reader, observer, selector)

    async def _read_pages(
        self, reader: TimelineReader, observer: ObservingServer, selector: ModeSelector
    ) -> None:
        progress, seen = self.progress, SeenToots()
        before = self._before or await self._retried(partial(self._first_id, reader), selector)
        while progress.reached > progress.since:
            page = _Page(await self._retried(partial(reader.before, before), selector))
            if not page.statuses:
                progress.reached = progress.since  # The timeline begins here.
                return
            wanted = [
                status
                for status, posted in zip(page.statuses, page.posted, strict=True)
                if posted is None or progress.since <= posted < progress.until
            ]
            before = page.oldest_id
            self._people.refresh()
            recorder = TootRecorder(
                observer,
                self._sink,
                seen,
                FeedPosition(None),
                ServerStatistics(self._server),
                self._people,
            )
            recorder.position.tallies = self._tallies
            recorder.take_page(wanted, "past")
            recorder.position.note_read(before)
            while recorder.position.advance() is None:
                await asyncio.sleep(_POLL_SECONDS)
                self._sink.poll()
            progress.toots += recorder.statistics.toots
            progress.dead_letters += recorder.statistics.dead_letters
            self._positions.write(self._key, SavedPosition(before, wanted_since_ms=progress.until))
            self._save_tallies()
            reached = page.reached()
            if reached is not None:
                # A toot may be listed later than it was posted: those are on earlier pages.
                progress.reached = min(progress.reached, reached + self._margin)

    def _check_not_blocked(self, name: str) -> None:
        if self._people.rules.blocks_server(server_name(name)):
            raise PastUnreadable(f"{name} is on a block list (BLOCKLIST)")

    async def _first_id(self, reader: TimelineReader) -> str:
        """Return the id before which the period is listed; '' if that is the newest page."""
        newest = _Page(await reader.before(""))
        latest = next(filter(None, map(status_id_of, reversed(newest.statuses))), "")
        listed = listed_at(latest, _now())
        back = 0 if listed is None else listed - self.progress.until - self._margin
        return moved_back(latest, back, _now()) if back > 0 else ""

    async def _retried(self, request: Callable[[], Awaitable[T]], selector: ModeSelector) -> T:
        """Repeat a request until it is answered. Raises PastUnreadable if it never will be."""
        backoff, name = self._backoff(), self._server.name
        while True:
            try:
                response = await request()
            except (UnsafeAddress, CrossHostRedirect) as error:
                raise PastUnreadable(f"{name}: {error}") from None
            except Refused as refused:
                reason = refusal_reason(self._server, refused, selector.has_token)
                if refused.status in PARKING_REFUSALS and not refused.is_bot_wall:
                    raise PastUnreadable(f"{name}: {reason}") from None
            except Unreachable as error:
                reason = str(error)
                if reason == NEWEST_PAGE_ONLY:
                    raise PastUnreadable(f"{name}: {reason}") from None
            else:
                self.progress.waiting = ""
                return response
            self.progress.waiting = reason
            await asyncio.sleep(backoff.next_wait())

    def _note_429(self, seconds: float) -> None:
        self.progress.waiting = f"429 Too Many Requests; again in {seconds:.0f} s"

    def _save_tallies(self, *, ended: bool = False) -> None:
        source = tally_source(self._server.base_url, "past")
        template = SavedTally(
            self._run_id, self._started_at, source, 0, ended=ended, written_at=_now()
        )
        for tally in self._tallies.changed(template):
            if self._positions.write_tally(tally):
                self._tallies.note_saved(tally)


def _posted_at(status: bytes) -> int | None:
    try:
        return milliseconds(decode_status(status).created_at)
    except InvalidRecord:
        return None


def _now() -> int:
    return time.time_ns() // 1_000_000
