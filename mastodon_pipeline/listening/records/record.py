"""The record of one event of a toot, as one server reported it.

**Strangers' short fields are short.** A server may send an app or a language of half a megabyte,
which would go into every table, chart and page that lists apps or languages. So what is longer
than any real one is cut where the record is made (`MAX_CHARACTERS`); a link that is too long is
left out, since a part of it leads elsewhere.

**Authors who opt out of indexing.** By a tag in their profile (see `people`), or by one of the two
marks that Mastodon's account has. `noindex` is the author's wish that search engines stay away:
their text, hashtags and name are not recorded, `mastodon_text` is '' (the counts stay, they quote
nobody; so does `uri`, by which the copies of a toot are known to be one). It counts from the
author's own server only, which alone knows it: a remote author's wish is known if their home server
is listened to. It does not count from GoToSocial, which sends it of every author, its own and
others', who has not opted in to search: there it is a default and shows no wish. `indexable` is
narrower, whether others may find their posts by full-text search; most authors never touched it and
it is false by default, so it is a field for analysts to honour and blanks nothing.
See: https://docs.joinmastodon.org/entities/Account/#noindex and #indexable
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from mastodon_pipeline.listening.protocol.ids import listed_at
from mastodon_pipeline.listening.protocol.statuses import Account, Status
from mastodon_pipeline.listening.protocol.text import count_links, plain_text, scrub
from mastodon_pipeline.listening.records.language import primary_language
from mastodon_pipeline.listening.records.people import (
    account_key,
    opts_out_by_profile,
    pseudonym,
)
from mastodon_pipeline.server_names import server_name

TootEvent = Literal["update", "status.update", "delete"]
Source = Literal["stream", "poll", "gap", "past", "replay"]

FUTURE_TOLERANCE_MS = 5 * 60 * 1000
"""How far the claimed time of a post or an edit may lie beyond our clock before it is clamped."""
MAX_CHARACTERS = {
    "app": 200,
    "language": 64,
    "username": 256,
    "acct": 512,
    "server": 256,
    "url": 2048,
    "visibility": 32,
}
"""Of each short field. Mastodon's own: app 60, username 30 (remote 2,048 allowed), tag 100."""
MAX_TAG_CHARACTERS = 256
MAX_TAG_NAMES = 500
"""Names that are kept of a toot's hashtags; `tags` counts all."""
_APP, _LANGUAGE, _USERNAME = (MAX_CHARACTERS[name] for name in ("app", "language", "username"))
_ACCT, _SERVER, _URL = (MAX_CHARACTERS[name] for name in ("acct", "server", "url"))
_VISIBILITY = MAX_CHARACTERS["visibility"]
_INT_MAX = 2**31 - 1
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


class TootRecord(Struct, frozen=True, gc=False):
    """One event of a toot. What the fields mean is in `schemas/mastodon-topic-value.avsc`.

    Its fields are those of the schema, in the same order and with the same defaults (the encoder
    checks names and order when it is compiled). Times are UTC milliseconds since 1970.
    """

    event: TootEvent = "update"
    uri: str = ""
    status_id: str = ""
    base_url: str = ""
    server: str = ""
    created_at: int = 0
    edited_at: int | None = None
    ingested_at: int = 0
    source: Source = "stream"
    username: str = ""
    acct: str = ""
    bot: bool = False
    app: str = ""
    url: str = ""
    language: str = ""
    language_primary: str = ""
    favourites: int = 0
    tags: int = 0
    tag_names: list[str] = []
    characters: int = 0
    words: int = 0
    mentions: int = 0
    media: int = 0
    mastodon_text: str = ""
    visibility: str = ""
    sensitive: bool = False
    reply: bool = False
    indexable: bool | None = None
    has_poll: bool = False
    has_quote: bool | None = None
    links: int | None = None

    @property
    def key(self) -> str:
        """The Kafka key: the uri, so that all events of a toot share a partition, in order."""
        return self.uri or f"{self.base_url}#{self.status_id}"


@dataclass(frozen=True, slots=True)
class ObservingServer:
    """The server that reported a toot."""

    base_url: str
    domain: str
    """The name of its accounts' domain, which need not be the host of `base_url`."""
    noindex_by_default: bool = False
    """It sends `noindex` of whoever has not opted in to search: its `noindex` is no wish."""


class SeenToot(Struct, frozen=True, gc=False):
    """What a later delete, which carries nothing but an id, needs to know about its toot."""

    uri: str
    server: str
    created_at: int
    """UTC milliseconds."""


def opted_out(author: Account, observer: ObservingServer) -> bool:
    """Return whether an author wishes not to be indexed, as far as this server may say so."""
    own_word = author.noindex and not observer.noindex_by_default
    if own_word and home_server(author.acct, observer) == observer.domain:
        return True
    return opts_out_by_profile(author)


def toot_record(
    status: Status,
    event: TootEvent,
    observer: ObservingServer,
    source: Source,
    ingested_at: int,
    salt: str = "",
) -> TootRecord:
    """Return the record of a new or edited toot. `ingested_at`: UTC milliseconds, our clock.

    `salt`: for the pseudonym of an author who has opted out.
    """
    has_quote = status.quote is not None
    text = plain_text(status.content, has_quote) if status.content else ""
    author, application = status.account, status.application
    language = (status.language or "")[:_LANGUAGE]
    tag_names = [tag.name[:MAX_TAG_CHARACTERS] for tag in status.tags[:MAX_TAG_NAMES]]
    url = status.url or ""
    latest = ingested_at + FUTURE_TOLERANCE_MS
    created_at = min(milliseconds(status.created_at), latest)
    favourites = status.favourites_count or 0
    server = home_server(author.acct, observer)
    username, acct = author.username[:_USERNAME], author.acct[:_ACCT]
    withheld = opted_out(author, observer)
    if withheld:
        url, tag_names = "", []
        name, _, domain = acct.partition("@")
        username = pseudonym(salt, account_key(username or name, server))
        acct = f"{username}@{domain}" if domain else username
    return TootRecord(
        event=event,
        uri=status.uri,
        status_id=str(status.id),
        base_url=observer.base_url,
        server=server[:_SERVER],
        created_at=created_at,
        edited_at=min(max(milliseconds(status.edited_at), created_at), latest)
        if status.edited_at
        else None,
        ingested_at=ingested_at,
        source=source,
        username=username,
        acct=acct,
        bot=author.bot is True,
        app=((application and application.name) or "")[:_APP],
        url=url if len(url) <= _URL else "",
        language=language,
        language_primary=primary_language(language),
        favourites=favourites if 0 <= favourites <= _INT_MAX else _INT_MAX * (favourites > 0),
        tags=len(status.tags),
        tag_names=tag_names,
        characters=len(text),
        words=len(text.split()),
        mentions=len(status.mentions),
        media=len(status.media_attachments),
        mastodon_text="" if withheld else text,
        visibility=(status.visibility or "")[:_VISIBILITY],
        sensitive=status.sensitive is True,
        reply=status.in_reply_to_id is not None,
        indexable=author.indexable,
        has_poll=status.poll is not None,
        has_quote=has_quote,
        links=count_links(status.content, has_quote) if status.content else 0,
    )


def cut_short_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a record's fields with the short ones as short as `toot_record` makes them."""
    cut = dict(fields)
    for name, limit in MAX_CHARACTERS.items():
        value = cut.get(name)
        if isinstance(value, str) and len(value) > limit:
            cut[name] = "" if name == "url" else value[:limit]
    if isinstance(names := cut.get("tag_names"), list):
        cut["tag_names"] = [
            name[:MAX_TAG_CHARACTERS] if isinstance(name, str) else name
            for name in names[:MAX_TAG_NAMES]
        ]
    return cut


def delete_record(
    status_id: str, seen: SeenToot | None, observer: ObservingServer, ingested_at: int
) -> TootRecord:
    """Return the record of a delete, with the toot's uri and post time if it was `seen`.

    Otherwise (an old toot, or one from before we listened) `uri` is '', and `created_at` is the
    time in the id, if it has one: so the delete lands in its toot's hour, where the toot can be
    looked up by observing server and id.

    **What stays unresolved**, its text kept: an id without a time (`created_at` is now), and an id
    whose time is that of arrival, in another hour than the post time. The latter happens to copies
    from other servers, which came later than they were written, and to a server's own toots of the
    last milliseconds of an hour. Any other observing server that reports the same delete resolves
    it for all.
    """
    id_time = listed_at(status_id, ingested_at)
    if seen is not None:
        created_at = seen.created_at
    elif id_time is not None:
        created_at = min(id_time, ingested_at + FUTURE_TOLERANCE_MS)
    else:
        created_at = ingested_at
    return TootRecord(
        event="delete",
        uri=seen.uri if seen else "",
        status_id=scrub(status_id),
        base_url=observer.base_url,
        server=seen.server if seen else "",
        created_at=created_at,
        ingested_at=ingested_at,
    )


def home_server(acct: str, observer: ObservingServer) -> str:
    """Return the name of the author's own server: that of `acct`, or the observer's."""
    return server_name(acct.rpartition("@")[2]) if "@" in acct else observer.domain


def milliseconds(moment: datetime) -> int:
    """Return UTC milliseconds since 1970, negative before. A time without a zone is UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=_EPOCH.tzinfo)
    passed = aware - _EPOCH
    return passed.days * 86_400_000 + passed.seconds * 1000 + passed.microseconds // 1000
