"""Toots as a Mastodon server tells them: the Status entity in JSON, about 2.6 kB each.

See: https://docs.joinmastodon.org/entities/Status/ (fields and order as Mastodon 4.5 sends them).
"""

import zlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from mastodon_pipeline_tests.simulator.content import Author, Toot

_encoder = msgspec.json.Encoder()


def iso(milliseconds: int) -> str:
    """UTC milliseconds since the epoch, as Mastodon writes times: `2026-11-24T09:30:00.123Z`."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def status_json(toot: Toot, observer: str, status_id: int) -> bytes:
    """The toot as the server `observer` lists it under `status_id`."""
    return _encoder.encode(_status(toot, observer, status_id))


def _status(toot: Toot, observer: str, status_id: int) -> dict[str, Any]:
    author, local = toot.author, toot.server == observer
    number = toot.uri.rpartition("/")[2]
    account_id = _account_id(author, observer)
    status: dict[str, Any] = {
        "id": str(status_id),
        "created_at": iso(toot.created_at),
        "in_reply_to_id": str(status_id - (1 << 26)) if toot.reply_to else None,
        "in_reply_to_account_id": {"self": account_id, "other": "109000000000000001"}.get(
            toot.reply_to or ""
        ),
        "sensitive": bool(toot.spoiler),
        "spoiler_text": toot.spoiler,
        "visibility": toot.visibility,
        "language": toot.language,
        "uri": toot.uri,
        "url": f"{author.page}/{number}",
        "replies_count": 0,
        "reblogs_count": 0,
        "favourites_count": 0,
        "quotes_count": 0,
        "edited_at": iso(toot.edited_at) if toot.edited_at is not None else None,
        "content": toot.body.html,
        "reblog": _status(toot.boost_of, observer, status_id - 1) if toot.boost_of else None,
        "quote": None,
        "quote_approval": {"automatic": ["public"], "manual": [], "current_user": "denied"},
        "account": _account_json(author, observer),
        "media_attachments": [_media(observer, status_id, n) for n in range(toot.media)],
        "mentions": [_mention(person, observer) for person in toot.mentions],
        "tags": [
            {"name": tag.lower(), "url": f"https://{observer}/tags/{quote(tag.lower())}"}
            for tag in toot.tags
        ],
        "emojis": [_emoji(observer, shortcode) for shortcode in toot.emojis],
        "card": None,
        "poll": None,
    }
    if local and author.app is not None:  # remote toots never carry their application
        status["application"] = {"name": author.app[0], "website": author.app[1]}
    return status


def account(author: Author, observer: str) -> dict[str, Any]:
    """The Account entity. `noindex` is told of local accounts alone, `indexable` of all."""
    files = f"https://files.{observer}/accounts"
    account_id = _account_id(author, observer)
    path = "/".join(account_id[i : i + 3] for i in range(0, 18, 3))
    avatar = f"{files}/avatars/{path}/original/{zlib.crc32(author.uri.encode()):016x}.png"
    header = f"{files}/headers/{path}/original/{zlib.crc32(author.page.encode()):016x}.png"
    entity: dict[str, Any] = {
        "id": account_id,
        "username": author.username,
        "acct": author.acct(observer),
        "display_name": author.username.replace("_", " ").title(),
        "locked": False,
        "bot": author.bot,
        "discoverable": not author.noindex,
        "indexable": author.indexable,
        "group": False,
        "created_at": "2022-11-07T00:00:00.000Z",
        "note": "<p>Simulated: writes about harbours, bread and birds. Nobody real.</p>",
        "url": author.page,
        "uri": author.uri,
        "avatar": avatar,
        "avatar_static": avatar,
        "header": header,
        "header_static": header,
        "avatar_description": "",
        "header_description": "",
        "followers_count": 214,
        "following_count": 187,
        "statuses_count": 4242,
        "last_status_at": "2026-01-01",
        "hide_collections": None,
        "emojis": [],
        "fields": [
            {
                "name": "Home",
                "value": f'<a href="https://{author.username}.example" rel="me nofollow">'
                f"{author.username}.example</a>",
                "verified_at": None,
            }
        ],
    }
    if observer == author.server:
        entity |= {"noindex": author.noindex, "roles": []}
    return entity


@lru_cache(maxsize=65536)
def _account_json(author: Author, observer: str) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(account(author, observer)))


def _account_id(author: Author, observer: str) -> str:
    return str(109_000_000_000_000_000 + zlib.crc32(f"{observer} {author.uri}".encode()) * 1000)


def _mention(person: Author, observer: str) -> dict[str, str]:
    return {
        "id": _account_id(person, observer),
        "username": person.username,
        "url": person.page,
        "acct": person.acct(observer),
    }


def _emoji(observer: str, shortcode: str) -> dict[str, Any]:
    url = f"https://files.{observer}/custom_emojis/{shortcode}.png"
    return {"shortcode": shortcode, "url": url, "static_url": url, "visible_in_picker": True}


def _media(observer: str, status_id: int, position: int) -> dict[str, Any]:
    media_id = str(status_id + position + 1)
    files = f"https://files.{observer}/media_attachments/{media_id}"
    return {
        "id": media_id,
        "type": "image",
        "url": f"{files}/original/picture.webp",
        "preview_url": f"{files}/small/picture.webp",
        "remote_url": None,
        "preview_remote_url": None,
        "text_url": None,
        "meta": {
            "original": {"width": 1600, "height": 1200, "size": "1600x1200", "aspect": 1.3333333},
            "small": {"width": 554, "height": 416, "size": "554x416", "aspect": 1.3317307},
        },
        "description": "A harbour in the fog",
        "blurhash": "UeKUpMxuo~R%0nW;WCof9FR%%LRjM{oeWBof",
    }
