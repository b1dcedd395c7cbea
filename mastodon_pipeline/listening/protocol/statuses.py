"""Typed decoding of what a Mastodon server sends: the few fields of a status that are recorded.

Two passes. The first is msgspec's typed decoder, fast and strict. What it rejects (a null list, a
number instead of text, bad UTF-8, a lone surrogate), and what contains a NUL, gets a second,
tolerant pass that takes each field as far as it makes sense and scrubs its text. So every text of
a `Status`, except `content` (which `plain_text` scrubs), is valid in UTF-8 and in databases.
What the second pass rejects too raises `UndecodableStatus`, and the caller sends the payload to
the dead-letter topic: no payload is lost without a trace.

The tolerant pass is not `msgspec.convert(..., strict=False)`: that rejects a number for a text and
a list with one bad element, and accepts 1 for true and an epoch for a time.

See: https://docs.joinmastodon.org/entities/Status/ and .../entities/Account/
"""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from mastodon_pipeline.errors import UndecodableStatus
from mastodon_pipeline.listening.protocol.text import scrub

MAX_IDENTITY = 4096
"""Characters of a toot's id, uri and account together; Mastodon's own have at most 700."""
_MAX_DELETED_ID = 200
_PUBLIC = frozenset({"", "public", "unlisted"})
"""Visibilities of toots that anybody may read. Other software has more private ones than Mastodon:
`local`, `limited`, `list`, `mutuals_only`."""
_YES = frozenset({"true", "1", "yes", "on"})
_NO = frozenset({"", "false", "0", "no", "off", "none", "null"})


_NO_JSON = msgspec.Raw()


class Account(Struct, gc=False):
    """A toot's author, as the observing server shows it."""

    acct: str
    """`username` for the observing server's own accounts, `username@domain` for others."""
    username: str = ""
    bot: bool | None = False
    noindex: bool | None = None
    """The author opts out of search engines; servers show this for their own accounts only."""
    indexable: bool | None = None
    """The author allows full-text search of their public posts (Mastodon 4.2+)."""
    note: str | None = ""
    """The biography, HTML. With name and fields it is read for opt-outs alone."""
    display_name: str | None = ""
    fields: msgspec.Raw = _NO_JSON
    """The rows of the profile's table, as JSON: decoding them costs as much as all other fields."""


class Application(Struct, gc=False):
    """The app the toot was written with; servers show it for their own accounts only."""

    name: str | None = ""


class Tag(Struct, gc=False):
    """A hashtag of a toot."""

    name: str = ""


class Counted(Struct, gc=False):
    """An element that is only counted."""


class Status(Struct, gc=False):
    """The recorded fields of a status. `id` is opaque: a number or any text."""

    id: str | int
    uri: str
    created_at: datetime
    account: Account
    edited_at: datetime | None = None
    content: str | None = ""
    url: str | None = ""
    language: str | None = ""
    visibility: str | None = ""
    local_only: bool | None = False
    """The toot is for the server's own users (Hometown, glitch-soc, GoToSocial)."""
    sensitive: bool | None = False
    in_reply_to_id: str | int | None = None
    favourites_count: int | None = 0
    application: Application | None = None
    tags: list[Tag] = []
    mentions: list[Counted] = []
    media_attachments: list[Counted] = []
    poll: Counted | None = None
    """Set if the toot asks its readers to vote."""
    quote: Counted | None = None
    """Set if the toot quotes another."""
    reblog: Counted | None = None
    """Set if this is a boost: it repeats another toot and is not one itself."""


_typed_status = msgspec.json.Decoder(Status)
_typed_page = msgspec.json.Decoder(list[msgspec.Raw])


def decode_status(payload: bytes) -> Status:
    """Decode a status from its JSON (UTF-8 bytes).

    Raises UndecodableStatus if it is not JSON or lacks what a toot cannot be recorded without: id,
    uri, created_at, account.acct; or if these are longer than real ones, because they are kept in
    memory (`SeenToots`), which a server must not be able to exhaust.
    """
    try:
        status = _typed_status.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        status = _decode_tolerantly(payload)
    else:
        if _contains_nul(status):
            status = _decode_tolerantly(payload)
    if not status.uri or not status.account.acct or status.id == "":
        raise UndecodableStatus("id, uri or account.acct is empty")
    if len(status.uri) + len(status.account.acct) + len(str(status.id)) > MAX_IDENTITY:
        raise UndecodableStatus(f"id, uri and account.acct have over {MAX_IDENTITY} characters")
    return status


def is_public(status: Status) -> bool:
    """Return whether anybody may read the toot, as far as its server says."""
    visibility = status.visibility
    return not status.local_only and (
        not visibility or visibility == "public" or visibility.strip().lower() in _PUBLIC
    )


def may_be_kept(payload: bytes) -> bool:
    """Return whether an undecodable payload may become a dead letter: it is of no private toot."""
    try:
        entity = _any_json(payload)
    except UndecodableStatus:
        return True
    if not isinstance(entity, Mapping):
        return True
    return not _wish(entity.get("local_only")) and (
        _visibility(entity.get("visibility")).strip().lower() in _PUBLIC
    )


def decode_author(payload: bytes) -> Account | None:
    """Return the author in a payload that may be undecodable otherwise, or None."""
    try:
        entity = _any_json(payload)
    except UndecodableStatus:
        return None
    account = entity.get("account") if isinstance(entity, Mapping) else None
    return _account(account) if isinstance(account, Mapping) else None


def texts_of_fields(fields: bytes) -> Iterator[str]:
    """Yield the names and values of a profile's table, given as JSON."""
    try:
        rows = _any_json(fields)
    except UndecodableStatus:
        return
    for row in _list(rows):
        if isinstance(row, Mapping):
            yield from (_text(row.get("name")), _text(row.get("value")))


def decode_page(body: bytes) -> list[bytes]:
    """Split a timeline page into its statuses, each as JSON.

    Raises UndecodableStatus if the body is not a JSON array.
    """
    try:
        return [bytes(item) for item in _typed_page.decode(body)]
    except (msgspec.DecodeError, ValueError, RecursionError):
        items = _any_json(body)
        if not isinstance(items, list):
            raise UndecodableStatus("the page is not a JSON array") from None
        return [json.dumps(item).encode() for item in items]


def status_id_of(payload: bytes) -> str:
    """Return the id in a payload that may be undecodable otherwise; '' if there is none.

    An id longer than that of any toot that can be recorded counts as none.
    """
    try:
        entity = _any_json(payload)
    except UndecodableStatus:
        return ""
    status_id = _text(entity.get("id")) if isinstance(entity, Mapping) else ""
    return status_id if len(status_id) <= MAX_IDENTITY else ""


def decode_deleted_id(payload: bytes) -> str:
    """Return the id in a delete's payload: bare text, or a JSON string.

    Raises UndecodableStatus if there is none.
    """
    status_id = payload.decode("utf-8").strip().strip('"')
    if not status_id or len(status_id) > _MAX_DELETED_ID:
        raise UndecodableStatus("a delete without an id")
    return status_id


def _any_json(payload: bytes) -> Any:
    try:
        # The standard library accepts what msgspec refuses: lone surrogates, NaN, huge exponents.
        return json.loads(payload.decode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise UndecodableStatus(f"not JSON: {error}") from None


def _contains_nul(status: Status) -> bool:
    author, application = status.account, status.application
    # Searching one text costs less than searching eight, or the payload, ten times as long.
    texts = f"{status.id}{status.uri}{status.url}{author.acct}{author.username}{status.language}"
    if status.tags:
        texts += "".join([tag.name for tag in status.tags])
    return "\0" in f"{texts}{status.visibility}{application.name if application else None}"


def _decode_tolerantly(payload: bytes) -> Status:
    entity = _any_json(payload)
    if not isinstance(entity, Mapping):
        raise UndecodableStatus(f"a JSON {type(entity).__name__}, not an object")
    account = entity.get("account")
    if not isinstance(account, Mapping):
        raise UndecodableStatus("account is missing")
    application = entity.get("application")
    return Status(
        id=_text(entity.get("id")),
        uri=_text(entity.get("uri")),
        created_at=_time(entity.get("created_at")),
        account=_account(account),
        edited_at=_time_or_none(entity.get("edited_at")),
        content=_text(entity.get("content")),
        url=_text(entity.get("url")),
        language=_text(entity.get("language")),
        visibility=_visibility(entity.get("visibility")),
        local_only=_wish(entity.get("local_only")),
        sensitive=_flag(entity.get("sensitive")),
        in_reply_to_id=_text(entity.get("in_reply_to_id")) or None,
        favourites_count=_count(entity.get("favourites_count")),
        application=Application(_text(application.get("name")))
        if isinstance(application, Mapping)
        else None,
        tags=[
            Tag(_text(tag.get("name")))
            for tag in _list(entity.get("tags"))
            if isinstance(tag, Mapping)
        ],
        mentions=[Counted() for _ in _list(entity.get("mentions"))],
        media_attachments=[Counted() for _ in _list(entity.get("media_attachments"))],
        poll=Counted() if isinstance(entity.get("poll"), Mapping) else None,
        quote=Counted() if isinstance(entity.get("quote"), Mapping) else None,
        reblog=Counted() if isinstance(entity.get("reblog"), Mapping) else None,
    )


def _account(account: Mapping[str, Any]) -> Account:
    return Account(
        acct=_text(account.get("acct")),
        username=_text(account.get("username")),
        bot=_flag(account.get("bot")),
        noindex=_wish(account.get("noindex")),
        indexable=_flag(account.get("indexable")),
        note=_text(account.get("note")),
        display_name=_text(account.get("display_name")),
        fields=msgspec.Raw(json.dumps(account.get("fields")).encode()),
    )


def _text(value: object) -> str:
    if isinstance(value, str):
        return scrub(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _flag(value: object) -> bool | None:
    """Return a flag in whatever spelling: true, 1, "true"; None if it is neither yes nor no."""
    spelling = _spelling(value)
    return True if spelling in _YES else False if spelling in _NO else None


def _wish(value: object) -> bool:
    """Return whether an author wishes to be left alone: anything but a no counts."""
    return _spelling(value) not in _NO


def _visibility(value: object) -> str:
    """Return a visibility; one that is no text is some kind that we do not know."""
    return "" if value is None else _text(value) or ("" if value == "" else "unknown")


def _spelling(value: object) -> str:
    return "" if value is None or value in ([], {}) else str(value)[:20].strip().lower()


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def _time(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(value))
        # A time that UTC cannot represent (year 0 or 10000) counts as none.
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UndecodableStatus(f"created_at is not a time: {_text(value)[:40]!r}") from None


def _time_or_none(value: object) -> datetime | None:
    try:
        return _time(value)
    except UndecodableStatus:
        return None
