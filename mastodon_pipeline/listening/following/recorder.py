"""What one server sends becomes records: every event is recorded, known already, or a dead letter.

**What can be lost here, and what protects it.** Nothing: a payload becomes a record, a dead letter
with its reason, or is known already. The feed's position passes what was sent only once the broker
has acknowledged it (`FeedPosition`).
"""

import time

from mastodon_pipeline.errors import DeliveryFailed
from mastodon_pipeline.listening.following.position import FeedPosition, Gap
from mastodon_pipeline.listening.following.statistics import ServerStatistics
from mastodon_pipeline.listening.following.tally import HourTally
from mastodon_pipeline.listening.protocol.ids import later
from mastodon_pipeline.listening.protocol.statuses import (
    Status,
    decode_author,
    decode_deleted_id,
    decode_status,
    is_public,
    may_be_kept,
    status_id_of,
)
from mastodon_pipeline.listening.records.people import People, PeopleRules, is_nameless
from mastodon_pipeline.listening.records.record import (
    ObservingServer,
    Source,
    TootEvent,
    TootRecord,
    delete_record,
    home_server,
    opted_out,
    toot_record,
)
from mastodon_pipeline.listening.records.seen import SeenToots
from mastodon_pipeline.listening.records.sink import DeadLetter, TootSink

_EVERYBODY = PeopleRules()
_TOOT_EVENTS: dict[str, TootEvent] = {"update": "update", "status.update": "status.update"}


class TootRecorder:
    """Records one server's toots. Only the listener's event loop calls it."""

    __slots__ = ("_people", "_seen", "_sink", "gap", "observer", "position", "statistics")

    def __init__(
        self,
        observer: ObservingServer,
        sink: TootSink,
        seen: SeenToots,
        position: FeedPosition,
        statistics: ServerStatistics,
        people: People | None = None,
    ) -> None:
        """`people`: whose toots are recorded; by default everybody's."""
        self.observer = observer
        self.position = position
        self.statistics = statistics
        self.gap: Gap | None = None
        """The gap before the open stream, until the stream's first toot shows where it ends."""
        self._sink = sink
        self._seen = seen
        self._people = people

    @property
    def remembers_since(self) -> int:
        """UTC milliseconds: every toot recorded since then is known."""
        return self._seen.remembers_since

    def take(self, payload: bytes, event: str, source: Source) -> tuple[str, bool]:
        """Record one event: a new, edited or deleted toot; ignore every other kind of event.

        Returns the toot's id, '' if there is none, and whether anything was recorded. A payload
        that cannot be recorded becomes a dead letter. Raises DeliveryFailed if nothing more can
        be recorded.
        """
        toot_event = _TOOT_EVENTS.get(event)
        if toot_event is None and event != "delete":
            return "", False
        now = time.time_ns() // 1_000_000
        tally = self.position.tallies.at(now)
        tally.received += 1
        try:
            if toot_event is not None:
                status = decode_status(payload)
                status_id = str(status.id)
                return status_id, self._record(status, status_id, toot_event, source, now, tally)
            self._record_delete(decode_deleted_id(payload), now, tally)
        except DeliveryFailed:
            raise
        except Exception as error:
            # Whatever is wrong with this event, the next ones are still wanted.
            if self._excludes_letter(payload):
                self._exclude(tally)
            elif may_be_kept(payload):
                self._dead_letter(payload, event, error, tally)
            else:
                self.statistics.not_public += 1
                tally.not_public += 1
            return "", True
        return "", False

    def take_page(self, page: list[bytes], source: Source) -> tuple[str, bool]:
        """Record what is new of a timeline page.

        Returns the page's latest id and whether anything was recorded. Raises DeliveryFailed.
        """
        latest, anything_new = "", False
        for payload in page:
            status_id, new = self.take(payload, "update", source)
            latest = later(latest, status_id or status_id_of(payload))
            anything_new |= new
        return latest, anything_new

    def dead_letter(self, payload: bytes, event: str, error: Exception) -> None:
        """Send what could not be recorded to the dead letters, with its reason.

        The same toot once, and no more than `DeadLetterLimits` allows; what it does not is counted.
        """
        tally = self.position.tallies.at(time.time_ns() // 1_000_000)
        tally.received += 1
        self._dead_letter(payload, event, error, tally)

    def _dead_letter(self, payload: bytes, event: str, error: Exception, tally: HourTally) -> None:
        admission = self._seen.dead_letters.admit(self.observer.base_url, event, payload)
        if admission == "known":
            tally.repeated += 1
            return
        if admission == "too many":
            self.statistics.dead_letters_dropped += 1
            tally.dropped += 1
            return
        letter = DeadLetter(
            payload, str(error), self.observer.base_url, event, type(error).__name__
        )
        self._sink.dead_letter(letter, self.position.track_send())
        self.statistics.dead_letters += 1
        tally.dead_letters += 1

    def _record(
        self,
        status: Status,
        status_id: str,
        event: TootEvent,
        source: Source,
        now: int,
        tally: HourTally,
    ) -> bool:
        """Record one status and return whether it was new.

        A toot that the stream or a page has brought already is not recorded again. A boost is never
        recorded, nor is a toot that is not public.
        Raises ValueError if it cannot be recorded.
        """
        if self.gap is not None and source == "stream" and event == "update":
            self.gap.ends_at, self.gap = status_id, None
        if status.reblog is not None:
            tally.boosts += 1
            return False
        if not is_public(status):
            self.statistics.not_public += 1
            tally.not_public += 1
            return False
        rules = self._rules
        author = status.account
        if (
            rules.blocks is not None
            and rules.blocks.block(author.username, home_server(author.acct, self.observer))
        ) or (not rules.count_opted_out and opted_out(author, self.observer)):
            self._exclude(tally)
            return False
        if event == "update":
            known = self._seen.get(self.observer.base_url, status_id)
            if known is not None and (known.uri == status.uri or is_nameless(known.uri)):
                self.position.note_read(status_id)
                tally.repeated += 1
                return False
        record = toot_record(status, event, self.observer, source, now, rules.salt)
        if rules.forgotten:
            record = rules.without_forgotten(record)
        self._send(record, tally)
        self._seen.remember(record, status_id)
        created_at = record.created_at
        live = source in ("stream", "poll")
        self.statistics.count_toot(created_at, now - created_at if live else None)
        self.position.note_read(status_id)
        return True

    @property
    def _rules(self) -> PeopleRules:
        return _EVERYBODY if self._people is None else self._people.rules

    def _exclude(self, tally: HourTally) -> None:
        self.statistics.excluded += 1
        tally.excluded += 1

    def _excludes_letter(self, payload: bytes) -> bool:
        """Return whether a dead letter would hold what its author wants nobody to keep."""
        author = decode_author(payload)
        if author is None:
            return False
        blocks = self._rules.blocks
        if blocks is not None and blocks.block(
            author.username or author.acct.partition("@")[0],
            home_server(author.acct, self.observer),
        ):
            return True
        return opted_out(author, self.observer)

    def _record_delete(self, status_id: str, now: int, tally: HourTally) -> None:
        seen = self._seen.of_deleted(self.observer.base_url, status_id)
        self._send(delete_record(status_id, seen, self.observer, now), tally)
        self.statistics.deletes += 1

    def _send(self, record: TootRecord, tally: HourTally) -> None:
        acknowledged = self.position.track_send(tally)
        try:
            self._sink.send(record, acknowledged)
        except ValueError:
            acknowledged()  # Nothing was sent; its dead letter is tracked separately.
            tally.unsent += 1
            raise
