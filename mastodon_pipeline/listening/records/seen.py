"""The toots seen lately, by the ids that deletes name them by."""

import sys
import time

from mastodon_pipeline.listening.records.dead_letter_limits import DeadLetterLimits
from mastodon_pipeline.listening.records.record import SeenToot, TootRecord


class SeenToots:
    """The latest toots by (observing server, id), in memory: between half of `limit` and `limit`.

    For one thread, the listener's event loop.

    A delete that comes after its toot was forgotten travels with its id and the time in it
    (`delete_record`); nothing else is lost with this memory. What a former listener wrote last is
    recalled from the topic (`recall`), for deletes alone: it cannot tell whether a page of a gap
    is known, since what lies between may be missing.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._half = max(1, limit // 2)
        self.remembers_since = self._filling_since = time.time_ns() // 1_000_000
        """UTC milliseconds; what was seen since then is not forgotten."""
        self._toots: dict[tuple[str, str], SeenToot] = {}
        self._earlier: dict[tuple[str, str], SeenToot] = {}
        self._recalled: dict[tuple[str, str], SeenToot] = {}
        self.dead_letters = DeadLetterLimits()
        """What was seen lately and could not be recorded."""

    def remember(self, record: TootRecord, status_id: str = "") -> None:
        """Remember the record's uri and post time under its observing server and id.

        `status_id`: by which the server names the toot, if the record does not say.
        """
        toots = self._toots
        if len(toots) >= self._half:
            # All at once: dropping the oldest of a full dictionary one by one costs ever more.
            self._earlier, self._toots = toots, (toots := {})
            self.remembers_since = self._filling_since
            self._filling_since = time.time_ns() // 1_000_000
        key = (record.base_url, status_id or record.status_id)
        toots[key] = SeenToot(record.uri, record.server, record.created_at)

    def get(self, base_url: str, status_id: str) -> SeenToot | None:
        """Return the toot with this id, or None if it was never seen or is forgotten."""
        key = (base_url, status_id)
        return self._toots.get(key) or self._earlier.get(key)

    def recall(self, record: TootRecord) -> None:
        """Remember a former listener's record, for deletes; the caller bounds how many."""
        self._recalled[record.base_url, record.status_id] = SeenToot(
            record.uri, sys.intern(record.server), record.created_at
        )

    def of_deleted(self, base_url: str, status_id: str) -> SeenToot | None:
        """Return the toot behind a deleted id, seen by this listener or a former one, or None."""
        return self.get(base_url, status_id) or self._recalled.get((base_url, status_id))
