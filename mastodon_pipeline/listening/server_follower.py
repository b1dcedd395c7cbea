"""Following one server: discover it, choose the way, stream or poll, come back from everything.

**What can be lost here, and what protects it.** What a server publishes while no stream is open
is read from its timeline afterwards (`GapFilling`), from the feed's position onwards, which
outlives the process. Not protected: a server whose timeline we may not read (said in the
statistics), what it deleted meanwhile, edits and deletes while no stream is open, and edits and
deletes on polled servers: a timeline shows neither.
"""

import logging
import time
from collections.abc import Callable
from functools import partial
from threading import Event, Thread

from mastodon import Mastodon, MastodonError
from requests import RequestException

from mastodon_pipeline.listening.backoff import Backoff
from mastodon_pipeline.listening.discovery import (
    PARKING_REFUSALS,
    STREAM_REFUSALS,
    Way,
    choose_way,
    discover,
    mastodon_client,
    refusal_reason,
)
from mastodon_pipeline.listening.feed_position import FeedPosition
from mastodon_pipeline.listening.gap_filling import GapFilling
from mastodon_pipeline.listening.rate_budget import RateBudget
from mastodon_pipeline.listening.server_session import (
    STREAM_READ_TIMEOUT,
    CrossHostRedirect,
    Refused,
    ServerSession,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.server_statistics import ServerStatistics
from mastodon_pipeline.listening.sse import ServerSentEvent
from mastodon_pipeline.listening.statuses import Status, decode_status, status_id_of
from mastodon_pipeline.listening.stream_listener import BlockStreamListener
from mastodon_pipeline.listening.timeline_pages import (
    BEFORE_EVERYTHING,
    PAGE_LIMIT,
    TimelineReader,
    later,
)
from mastodon_pipeline.listening.toot_record import (
    ObservingServer,
    Record,
    SeenToots,
    Source,
    TootEvent,
    delete_record,
    toot_record,
)
from mastodon_pipeline.listening.toot_sink import DeadLetter, DeliveryFailed, TootSink
from mastodon_pipeline.settings import Server, Settings

PARKED_SECONDS = 3600.0
"""How long a server that refused us is left alone before it is looked at again."""
_log = logging.getLogger(__name__)


class _Parked(Exception):
    """This server refuses us, for the reason given; trying again soon would change nothing."""


class ServerFollower:
    """Follows one server until `stop` is set. `run` is its thread's body and never raises."""

    def __init__(
        self,
        server: Server,
        settings: Settings,
        sink: TootSink,
        seen: SeenToots,
        position: FeedPosition,
        stop: Event,
        backoff: Backoff | None = None,
    ) -> None:
        self.server = server
        self.position = position
        self.statistics = ServerStatistics(server.name, server.feed)
        self._settings = settings
        self._sink = sink
        self._seen = seen
        self._stop = stop
        self._backoff = backoff or Backoff()
        self._observer = ObservingServer(server.base_url, server.name)
        self._budget = RateBudget()
        self._stream: _FollowingListener | None = None
        self._stream_refusal: Refused | None = None
        self._session = ServerSession(
            settings.user_agent, settings.mastodon_allow_private_addresses
        )

    def run(self) -> None:
        """Follows the server; every failure becomes a wait, a parked state, or the next way."""
        while not self._stop.is_set():
            try:
                self._follow()
                wait = self._waiting("the stream ended")
            except _Parked as parked:
                self.statistics.now("parked", str(parked))
                _log.warning("%s is parked: %s", self.server.name, parked)
                self._stream_refusal = None
                wait = PARKED_SECONDS
            except DeliveryFailed:
                break  # The listener's main thread sees the same, and ends the run.
            except Exception as error:
                expected = (Refused, Unreachable, MastodonError, RequestException)
                if not isinstance(error, expected):
                    _log.exception("%s: an error we did not foresee", self.server.name)
                wait = self._waiting(f"{type(error).__name__}: {error}")
            self._stop.wait(wait)
        self.statistics.now("stopped")
        self._session.close()

    def interrupt(self) -> None:
        """Makes `run` return soon, also out of a blocked read; `stop` has been set before."""
        stream = self._stream
        if stream is not None:
            stream.interrupt()

    def save_position(self, write: Callable[[str], None]) -> None:
        """Writes the safe position where it has moved since the last call."""
        safe = self.position.safe()
        if safe is not None and safe != self.statistics.saved_position:
            write(safe)
            self.statistics.saved_position = safe

    def _waiting(self, reason: str) -> float:
        wait = self._backoff.next_wait()
        if not self._stop.is_set():
            self.statistics.now("waiting", f"{reason}; again in {wait:.0f} s")
            _log.info("%s: %s; again in %.1f s", self.server.name, reason, wait)
        return wait

    def _follow(self) -> None:
        self.statistics.now("connecting")
        token = self.server.token
        client = mastodon_client(self.server, token, self._session)
        try:
            found = discover(self.server, client)
            self._observer = ObservingServer(self.server.base_url, found.domain)
            way = choose_way(self.server, found, token is not None, self._stream_refusal)
            if way.kind == "park":
                raise _Parked(way.reason)
            if way.kind == "stream":
                self._follow_stream(client, token)
            else:
                self._follow_timeline(token if way.with_token else None, way)
        except (UnsafeAddress, CrossHostRedirect) as error:
            raise _Parked(str(error)) from None
        except Refused as refused:
            if refused.status in PARKING_REFUSALS:
                reason = refusal_reason(self.server, refused, self.server.token is not None)
                raise _Parked(reason) from None
            raise

    def _follow_stream(self, client: Mastodon, token: str | None) -> None:
        reader = TimelineReader(self.server, token, self._session, self._budget, self._stop)
        gaps = GapFilling(reader, self.position, self._accept_missed, self.statistics, self._stop)
        filling = Thread(target=gaps.run, name=f"gaps of {self.server.name}", daemon=True)
        stream = _FollowingListener(self, gaps)
        self._stream = stream
        if self._stop.is_set():
            return
        filling.start()
        try:
            client.stream_public(
                stream,
                local=self.server.feed == "local",
                remote=self.server.feed == "remote",
                timeout=STREAM_READ_TIMEOUT,
            )
        except Refused as refused:
            if refused.status not in STREAM_REFUSALS:
                raise
            self._stream_refusal = refused
            _log.info("%s refuses to stream: %s", self.server.name, refused)
        finally:
            self._stream = None
            gaps.no_more()

    def _follow_timeline(self, token: str | None, way: Way) -> None:
        reader = TimelineReader(self.server, token, self._session, self._budget, self._stop)
        after = self.position.resumes_from
        while not self._stop.is_set():
            page = reader.page(after)
            if self._stop.is_set():
                return
            self._backoff.connected()
            self.statistics.now("polling", way.reason)
            newest, _ = self._accept_missed(page, "poll")
            after = later(after or BEFORE_EVERYTHING, newest)
            self.position.saw(after)
            if len(page) < PAGE_LIMIT or not newest:
                self._stop.wait(self._settings.mastodon_poll_interval_seconds)

    def _accept_missed(self, page: list[bytes], source: Source = "gap") -> tuple[str, bool]:
        # A toot that the stream or an earlier page has brought already needs no second copy.
        ids = [status_id_of(payload) for payload in page]
        missed = [
            payload
            for payload, status_id in zip(page, ids, strict=True)
            if self._seen.get(self.server.base_url, status_id) is None
        ]
        for payload in missed:
            self.accept(payload, "update", source)
        return max(ids, default="", key=lambda i: (len(i), i)), bool(missed)

    def accept(self, payload: bytes, event: TootEvent, source: Source) -> str:
        """Records one status payload, or sends it to the dead letters; returns its id or ''."""
        try:
            return self.accept_status(decode_status(payload), event, source)
        except DeliveryFailed:
            raise
        except Exception as error:
            # Whatever one toot does to us, the next ones are still wanted.
            self.dead_letter(payload, event, error)
            return status_id_of(payload)

    def accept_status(self, status: Status, event: TootEvent, source: Source) -> str:
        """Records one status; returns its id. Raises ValueError where it cannot be recorded."""
        if status.reblog is not None:
            return str(status.id)
        record = toot_record(status, event, self._observer, source, _now())
        self._send(record)
        self._seen.remember(record)
        lag = record["ingested_at"] - record["created_at"] if source != "gap" else None
        self.statistics.took_toot(record["created_at"], lag)
        self.position.saw(str(status.id))
        return str(status.id)

    def accept_delete(self, status_id: str) -> None:
        """Records that a toot was deleted."""
        seen = self._seen.get(self.server.base_url, status_id)
        self._send(delete_record(status_id, seen, self._observer, _now()))
        self.statistics.deletes += 1

    def dead_letter(self, payload: bytes, event: str, error: Exception) -> None:
        """Sends what could not be recorded to the dead letters, with its reason."""
        letter = DeadLetter(payload, str(error), self.server.base_url, event, type(error).__name__)
        ticket = self.position.sending()
        self._sink.dead_letter(letter, partial(self.position.acknowledged, ticket))
        self.statistics.dead_letters += 1

    def stream_connected(self) -> None:
        """The server has accepted our stream."""
        self._backoff.connected()
        self.statistics.now("streaming")
        self.statistics.connects += 1

    def _send(self, record: Record) -> None:
        ticket = self.position.sending()
        acknowledged = partial(self.position.acknowledged, ticket)
        try:
            self._sink.send(record, acknowledged)
        except ValueError:
            acknowledged()  # Nothing is on its way; the dead letter takes a ticket of its own.
            raise


class _FollowingListener(BlockStreamListener):
    """Hands a stream's events to its follower."""

    def __init__(self, follower: ServerFollower, gaps: GapFilling) -> None:
        super().__init__()
        self._follower = follower
        self._gaps = gaps

    def on_connected(self) -> None:
        self._follower.stream_connected()
        self._gaps.add(self._follower.position.open_gap())

    def on_update(self, status: Status) -> None:  # type: ignore[override]
        self._follower.accept_status(status, "update", "stream")

    def on_status_update(self, status: Status) -> None:  # type: ignore[override]
        self._follower.accept_status(status, "status.update", "stream")

    def on_delete(self, status_id: str) -> None:  # type: ignore[override]
        self._follower.accept_delete(status_id)

    def on_undecodable(self, event: ServerSentEvent, error: Exception) -> None:
        self._follower.dead_letter(event.data, event.name, error)

    def handle_heartbeat(self) -> None:
        self._follower.statistics.heard()


def _now() -> int:
    return time.time_ns() // 1_000_000
