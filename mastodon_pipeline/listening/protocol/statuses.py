"""Typed decoding of what a Mastodon server sends: the few fields of a status that are recorded.

Two passes. The first is msgspec's typed decoder, fast and strict. What it refuses (a null list, a
number written as text, bad UTF-8, a lone surrogate), or where there is a NUL, gets a second,
tolerant pass that takes each field as far as it can be understood and scrubs its text. So no text
of a `Status` but `content` (which `plain_text` scrubs) holds what UTF-8 or a database cannot carry.
What the second pass refuses too raises `UndecodableStatus`, and the caller sends the payload to
the dead-letter topic: no payload is lost without a trace.

See: https://docs.joinmastodon.org/entities/Status/ and .../entities/Account/
"""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from mastodon_pipeline.errors import UndecodableStatus
from mastodon_pipeline.listening.protocol.text import scrub

MAX_IDENTITY = 4096
"""Characters of a toot's id, uri and account together; Mastodon's own have at most 700."""
_MAX_DELETED_ID = 200


class Account(Struct, gc=False):
    """A toot's author, as the observing server shows them."""

    acct: str
    """`username` for the observing server's own accounts, `username@domain` for others."""
    username: str = ""
    bot: bool | None = False
    noindex: bool | None = None
    """The author asked search engines to stay away; servers say so of their own accounts only."""
    indexable: bool | None = None
    """The author lets others find their public posts by full-text search (Mastodon 4.2+)."""


class Application(Struct, gc=False):
    """What the toot was written with; servers name it for their own accounts only."""

    name: str | None = ""


class Tag(Struct, gc=False):
    """A hashtag of a toot."""

    name: str = ""


class Counted(Struct, gc=False):
    """An element of which only the number matters."""


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
    sensitive: bool | None = False
    in_reply_to_id: str | int | None = None
    favourites_count: int | None = 0
    application: Application | None = None
    tags: list[Tag] = []
    mentions: list[Counted] = []
    media_attachments: list[Counted] = []
    reblog: Counted | None = None
    """Set where this is a boost: someone else's toot passed on, no toot of its own."""


_typed_status = msgspec.json.Decoder(Status)
_typed_page = msgspec.json.Decoder(list[msgspec.Raw])


def decode_status(payload: bytes) -> Status:
    """The status in a JSON payload (UTF-8 bytes).

    Raises UndecodableStatus where the payload is not JSON, or lacks what a toot cannot be
    recorded without: id, uri, created_at, account.acct; or where these are no one's real ones,
    for they are remembered (`SeenToots`), and our memory is not a stranger's to fill.
    """
    try:
        status = _typed_status.decode(payload)
    except (msgspec.DecodeError, ValueError, RecursionError):
        status = _tolerantly(payload)
    else:
        if _holds_nul(status):
            status = _tolerantly(payload)
    if not status.uri or not status.account.acct or status.id == "":
        raise UndecodableStatus("id, uri or account.acct is empty")
    if len(status.uri) + len(status.account.acct) + len(str(status.id)) > MAX_IDENTITY:
        raise UndecodableStatus(f"id, uri and account.acct have over {MAX_IDENTITY} characters")
    return status


def decode_page(body: bytes) -> list[bytes]:
    """The statuses of a timeline page, each still its own JSON payload.

    Raises UndecodableStatus where the body is not a JSON array: the page as a whole is bad.
    """
    try:
        return [bytes(item) for item in _typed_page.decode(body)]
    except (msgspec.DecodeError, ValueError, RecursionError):
        items = _any_json(body)
        if not isinstance(items, list):
            raise UndecodableStatus("the page is not a JSON array") from None
        return [json.dumps(item).encode() for item in items]


def status_id_of(payload: bytes) -> str:
    """The id in a payload that may not be decodable otherwise; '' where there is none."""
    try:
        found = _any_json(payload)
    except UndecodableStatus:
        return ""
    return _text(found.get("id")) if isinstance(found, Mapping) else ""


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


def _holds_nul(status: Status) -> bool:
    author, application = status.account, status.application
    # One text to look through costs less than eight, and less than the payload, which is ten times
    # as long.
    texts = f"{status.id}{status.uri}{status.url}{author.acct}{author.username}{status.language}"
    if status.tags:
        texts += "".join([tag.name for tag in status.tags])
    return "\0" in f"{texts}{status.visibility}{application.name if application else None}"


def _tolerantly(payload: bytes) -> Status:
    found = _any_json(payload)
    if not isinstance(found, Mapping):
        raise UndecodableStatus(f"a JSON {type(found).__name__}, not an object")
    account = found.get("account")
    if not isinstance(account, Mapping):
        raise UndecodableStatus("account is missing")
    application = found.get("application")
    return Status(
        id=_text(found.get("id")),
        uri=_text(found.get("uri")),
        created_at=_time(found.get("created_at")),
        account=Account(
            acct=_text(account.get("acct")),
            username=_text(account.get("username")),
            bot=_flag(account.get("bot")),
            noindex=_flag(account.get("noindex")),
            indexable=_flag(account.get("indexable")),
        ),
        edited_at=_time_or_none(found.get("edited_at")),
        content=_text(found.get("content")),
        url=_text(found.get("url")),
        language=_text(found.get("language")),
        visibility=_text(found.get("visibility")),
        sensitive=_flag(found.get("sensitive")),
        in_reply_to_id=_text(found.get("in_reply_to_id")) or None,
        favourites_count=_count(found.get("favourites_count")),
        application=Application(_text(application.get("name")))
        if isinstance(application, Mapping)
        else None,
        tags=[
            Tag(_text(t.get("name"))) for t in _list(found.get("tags")) if isinstance(t, Mapping)
        ],
        mentions=[Counted() for _ in _list(found.get("mentions"))],
        media_attachments=[Counted() for _ in _list(found.get("media_attachments"))],
        reblog=Counted() if isinstance(found.get("reblog"), Mapping) else None,
    )


def _text(value: object) -> str:
    if isinstance(value, str):
        return scrub(value)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _flag(value: object) -> bool | None:
    return value if isinstance(value, bool) else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    try:
        return int(value)  # type: ignore[call-overload, no-any-return]
    except (TypeError, ValueError, OverflowError):
        return 0


def _time(value: object) -> datetime:
    try:
        found = datetime.fromisoformat(_text(value))
        # A UTC time that cannot be represented (year 0 or 10000) is no time at all.
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UndecodableStatus(f"created_at is no time: {_text(value)[:40]!r}") from None


def _time_or_none(value: object) -> datetime | None:
    try:
        return _time(value)
    except UndecodableStatus:
        return None
