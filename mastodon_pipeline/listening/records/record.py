"""One event of one server as the record of `schemas/mastodon-topic-value.avsc`.

**Who said "do not index me".** Mastodon's account has two marks. `noindex` is the author's wish
that search engines stay away: their text is not kept, `mastodon_text` is '' (the counts remain,
they name nobody's words). `indexable` is narrower, whether others may find their posts by
full-text search; most authors never touched it and it is false by default, so it is recorded as
a field for analysts to honour and blanks nothing. Servers tell `noindex` of their own accounts
only: a remote author's wish is known where their home server is listened to.
See: https://docs.joinmastodon.org/entities/Account/#noindex and #indexable
"""

import sys
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from msgspec import Struct

from mastodon_pipeline.listening.protocol.ids import listed_at
from mastodon_pipeline.listening.protocol.statuses import Status
from mastodon_pipeline.listening.protocol.text import plain_text, scrub

TootEvent = Literal["update", "status.update", "delete"]
Source = Literal["stream", "poll", "gap", "replay"]
Record = dict[str, Any]

FUTURE_TOLERANCE_MS = 5 * 60 * 1000
"""How far, in milliseconds, a claimed post time may lie beyond our clock before it is clamped."""
_INT_MAX = 2**31 - 1
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class ObservingServer:
    """The server that told us of a toot."""

    base_url: str
    domain: str
    """The domain in its accounts' addresses, which need not be the host of `base_url`."""


def toot_record(
    status: Status, event: TootEvent, observer: ObservingServer, source: Source, ingested_at: int
) -> Record:
    """The Avro record of a new or edited toot. `ingested_at`: UTC milliseconds, our clock."""
    text = plain_text(status.content) if status.content else ""
    author, application, language = status.account, status.application, status.language or ""
    tag_names = [tag.name for tag in status.tags]
    created_at, latest = milliseconds(status.created_at), ingested_at + FUTURE_TOLERANCE_MS
    favourites = status.favourites_count or 0
    return {
        "event": event,
        "uri": status.uri,
        "status_id": str(status.id),
        "base_url": observer.base_url,
        "server": home_server(author.acct, observer),
        "created_at": created_at if created_at < latest else latest,
        "edited_at": milliseconds(status.edited_at) if status.edited_at else None,
        "ingested_at": ingested_at,
        "source": source,
        "username": author.username,
        "acct": author.acct,
        "bot": author.bot is True,
        "app": (application and application.name) or "",
        "url": status.url or "",
        "language": language,
        "language_primary": (_usual_primary_subtag if len(language) < 64 else _primary_subtag)(
            language
        ),
        "favourites": favourites if 0 <= favourites <= _INT_MAX else _INT_MAX * (favourites > 0),
        "tags": len(tag_names),
        "tag_names": tag_names,
        "characters": len(text),
        "words": len(text.split()),
        "mentions": len(status.mentions),
        "media": len(status.media_attachments),
        "mastodon_text": "" if author.noindex else text,
        "visibility": status.visibility or "",
        "sensitive": status.sensitive is True,
        "reply": status.in_reply_to_id is not None,
        "indexable": author.indexable,
    }


def _primary_subtag(language: str) -> str:
    return language.replace("_", "-").partition("-")[0].strip().lower()


_usual_primary_subtag = lru_cache(1024)(_primary_subtag)


def delete_record(
    status_id: str, seen: "SeenToot | None", observer: ObservingServer, ingested_at: int
) -> Record:
    """The Avro record of a delete: the toot's uri and post time where `seen` knows them.

    Otherwise (an old toot, or one of before we listened) `uri` is '', and `created_at` is the time
    in the id where the id tells one: so the delete lands in its toot's hour, and whoever holds that
    hour finds the toot by observing server and id.

    **What stays unresolved**, its text kept: where the id tells no time (`created_at` is now), and
    where it tells the time of arrival and that is in another hour than the post time. This can be
    for copies from other servers, which came later than they were written, and for a server's own
    toots of the last milliseconds of an hour. Any other observing server that tells of the same
    delete resolves it for all.
    """
    told = listed_at(status_id, ingested_at)
    dated = ingested_at if told is None else min(told, ingested_at + FUTURE_TOLERANCE_MS)
    return {
        "event": "delete",
        "uri": seen.uri if seen else "",
        "status_id": scrub(status_id),
        "base_url": observer.base_url,
        "server": seen.server if seen else "",
        "created_at": seen.created_at if seen else dated,
        "ingested_at": ingested_at,
        "source": "stream",
    }


def record_key(record: Record) -> str:
    """The Kafka key: the toot's uri, so that all events of a toot share a partition, in order."""
    return record["uri"] or f"{record['base_url']}#{record['status_id']}"


def home_server(acct: str, observer: ObservingServer) -> str:
    """The author's own server: the domain of `acct`, or the observer's for its own accounts."""
    return (acct.rpartition("@")[2] if "@" in acct else observer.domain).lower()


def milliseconds(moment: datetime) -> int:
    """UTC milliseconds since 1970; negative before. A time without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=_EPOCH.tzinfo)
    passed = aware - _EPOCH
    return passed.days * 86_400_000 + passed.seconds * 1000 + passed.microseconds // 1000


class SeenToot(Struct, frozen=True, gc=False):
    """What a later delete, which carries nothing but an id, must be told about its toot."""

    uri: str
    server: str
    created_at: int
    """UTC milliseconds."""


class SeenToots:
    """The latest toots by (observing server, id), in memory: between half of `limit` and `limit`.

    For one thread, the listener's event loop.

    A delete that comes after its toot was forgotten travels with its id and the time in it
    (`delete_record`); nothing else is lost with this memory. What a former listener wrote last is
    recalled from the topic (`recalling`), for deletes alone: whether a page of a gap is known must
    not be judged by it, since what lies between may be missing.
    """

    def __init__(self, limit: int = 200_000) -> None:
        self._half = max(1, limit // 2)
        self._toots: dict[tuple[str, str], SeenToot] = {}
        self._earlier: dict[tuple[str, str], SeenToot] = {}
        self._recalled: dict[tuple[str, str], SeenToot] = {}

    def recall(self, record: Record) -> None:
        """Keeps what a former listener recorded, for deletes; the caller bounds how much."""
        self._recalled[record["base_url"], record["status_id"]] = SeenToot(
            record["uri"], sys.intern(record["server"]), record["created_at"]
        )

    def of_deleted(self, base_url: str, status_id: str) -> SeenToot | None:
        """The toot behind a deleted id, seen by this listener or a former one; else None."""
        return self.get(base_url, status_id) or self._recalled.get((base_url, status_id))

    def remember(self, record: Record) -> None:
        """Keeps the record's uri and hour under its observing server and id."""
        toots = self._toots
        if len(toots) >= self._half:
            # All at once: to drop the oldest of a full dictionary one by one costs more each time.
            self._earlier, self._toots = toots, (toots := {})
        key = (record["base_url"], record["status_id"])
        toots[key] = SeenToot(record["uri"], record["server"], record["created_at"])

    def get(self, base_url: str, status_id: str) -> SeenToot | None:
        """The toot behind an id, or None where it was never seen or is forgotten."""
        key = (base_url, status_id)
        return self._toots.get(key) or self._earlier.get(key)
