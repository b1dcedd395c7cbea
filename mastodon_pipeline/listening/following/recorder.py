"""What one server sends, recorded: payloads to records to the sink, each counted and accounted for.

**What can be lost here, and what protects it.** Nothing: a payload becomes a record, a dead letter
with its reason, or is known already. The feed's position passes what was sent only once the broker
has it (`FeedPosition`).
"""

import time
from collections.abc import Callable

from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.following.events import BlockStreamListener
from mastodon_pipeline.listening.following.position import FeedPosition, Gap
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.timeline import later
from mastodon_pipeline.listening.protocol.sse import ServerSentEvent
from mastodon_pipeline.listening.protocol.statuses import Status, decode_status, status_id_of
from mastodon_pipeline.listening.records.record import (
    ObservingServer,
    Source,
    TootEvent,
    TootRecord,
    delete_record,
    toot_record,
)
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import DeadLetter, TootSink


class TootRecorder:
    """Records one server's toots. Called in the listener's event loop alone."""

    __slots__ = ("_seen", "_sink", "observer", "position", "statistics")

    def __init__(
        self,
        observer: ObservingServer,
        sink: TootSink,
        seen: SeenToots,
        position: FeedPosition,
        statistics: ServerStatistics,
    ) -> None:
        self.observer = observer
        self.position = position
        self.statistics = statistics
        self._sink = sink
        self._seen = seen

    def status(self, status: Status, event: TootEvent, source: Source) -> bool:
        """Records one status; False where it was not new. Raises ValueError where it cannot be.

        A toot that the stream or a page has brought already is not recorded again.
        """
        status_id = str(status.id)
        if status.reblog is not None:
            return False
        if event == "update":
            known = self._seen.get(self.observer.base_url, status_id)
            if known is not None and known.uri == status.uri:
                self.position.saw(status_id)
                return False
        now = time.time_ns() // 1_000_000
        record = toot_record(status, event, self.observer, source, now)
        self._send(record)
        self._seen.remember(record)
        created_at = record.created_at
        self.statistics.count_toot(created_at, now - created_at if source != "gap" else None)
        self.position.saw(status_id)
        return True

    def page(self, page: list[bytes], source: Source) -> tuple[str, bool]:
        """Records what of a page is new; its latest id, and whether anything was new."""
        newest, anything_new = "", False
        for payload in page:
            try:
                status = decode_status(payload)
                newest = later(newest, str(status.id))
                anything_new |= self.status(status, "update", source)
            except DeliveryFailed:
                raise
            except Exception as error:
                # Whatever one toot does to us, the next ones are still wanted.
                self.dead_letter(payload, "update", error)
                newest = later(newest, status_id_of(payload))
                anything_new = True
        return newest, anything_new

    def delete(self, status_id: str) -> None:
        """Records that a toot was deleted."""
        seen = self._seen.of_deleted(self.observer.base_url, status_id)
        now = time.time_ns() // 1_000_000
        self._send(delete_record(status_id, seen, self.observer, now))
        self.statistics.deletes += 1

    def dead_letter(self, payload: bytes, event: str, error: Exception) -> None:
        """Sends what could not be recorded to the dead letters, with its reason."""
        letter = DeadLetter(
            payload, str(error), self.observer.base_url, event, type(error).__name__
        )
        self._sink.dead_letter(letter, self.position.sending())
        self.statistics.dead_letters += 1

    def _send(self, record: TootRecord) -> None:
        acknowledged = self.position.sending()
        try:
            self._sink.send(record, acknowledged)
        except ValueError:
            acknowledged()  # Nothing is on its way; the dead letter is counted by itself.
            raise


class RecordingListener(BlockStreamListener):
    """Hands one stream's events to the server's recorder."""

    def __init__(self, recorder: TootRecorder, connected: Callable[[], Gap]) -> None:
        super().__init__()
        self._recorder = recorder
        self._connected = connected
        self._gap: Gap | None = None
        """The gap before this stream, until its first toot tells where it ends."""

    def on_connected(self) -> None:
        self._gap = self._connected()

    def on_update(self, status: Status) -> None:  # type: ignore[override]
        if self._gap is not None:
            self._gap.ends_at, self._gap = str(status.id), None
        self._recorder.status(status, "update", "stream")

    def on_status_update(self, status: Status) -> None:  # type: ignore[override]
        self._recorder.status(status, "status.update", "stream")

    def on_delete(self, status_id: str) -> None:  # type: ignore[override]
        self._recorder.delete(status_id)

    def on_undecodable(self, event: ServerSentEvent, error: Exception) -> None:
        self._recorder.dead_letter(event.data, event.name, error)

    def handle_heartbeat(self) -> None:
        self._recorder.statistics.note_activity()
