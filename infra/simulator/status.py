"""Toots as Mastodon's Status entity in JSON, about 2.6 kB each.

Fields, their order, and the form of addresses and HTML are those of mastodon.social's public
timeline under Mastodon 4.5; so are the nulls: a card is created after the toot was streamed.

See: https://docs.joinmastodon.org/entities/Status/ and .../entities/Account/
"""

import random
import zlib
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote

import msgspec

from infra.simulator import words
from infra.simulator.content import Author, Toot, hashtag_html, html, link_html

_encoder = msgspec.json.Encoder()


def iso(milliseconds: int) -> str:
    """Format UTC milliseconds since the epoch as Mastodon does: `2026-11-24T09:30:00.123Z`."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def status_json(toot: Toot, observer: str, status_id: int) -> bytes:
    """Return the toot as the server `observer` lists it under `status_id`."""
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
        "content": (quote_link(toot.quotes) if toot.quotes else "") + toot.body.html,
        "reblog": _status(toot.boost_of, observer, status_id - 1) if toot.boost_of else None,
    }
    if local and author.app is not None:  # remote toots never carry their application
        status["application"] = {"name": author.app[0], "website": author.app[1]}
    return status | {
        "account": _account_json(author, observer),
        "media_attachments": [_media(observer, status_id, n) for n in range(toot.media)],
        "mentions": [_mention(person, observer) for person in toot.mentions],
        "tags": [
            {"name": tag.lower(), "url": f"https://{observer}/tags/{quote(tag.lower())}"}
            for tag in toot.tags
        ],
        "emojis": [_emoji(observer, shortcode) for shortcode in toot.emojis],
        "quote": _quote(toot.quotes, observer, status_id) if toot.quotes else None,
        "card": None,
        "poll": _poll(toot, status_id),
        "quote_approval": {
            "automatic": ["public"] if local else [],
            "manual": [],
            "current_user": "denied",
        },
    }


def _poll(toot: Toot, status_id: int) -> dict[str, Any] | None:
    """Return a poll for one toot in twenty without pictures, always the same ones."""
    if toot.media or zlib.crc32(toot.uri.encode()) % 20:
        return None
    return {
        "id": str(status_id % 1_000_003),
        "expires_at": iso(toot.created_at + 86_400_000),
        "expired": False,
        "multiple": False,
        "votes_count": 0,
        "voters_count": 0,
        "options": [{"title": title, "votes_count": 0} for title in ("Yes", "No")],
        "emojis": [],
    }


def account(author: Author, observer: str) -> dict[str, Any]:
    """Return the Account entity; `noindex` is sent for local accounts only, `indexable` for all."""
    local = observer == author.server
    account_id = _account_id(author, observer)
    path = "/".join(account_id[i : i + 3] for i in range(0, 18, 3))
    files = f"https://files.{observer}/{'' if local else 'cache/'}accounts"
    avatar = f"{files}/avatars/{path}/original/{zlib.crc32(author.uri.encode()):016x}.png"
    header = f"{files}/headers/{path}/original/{zlib.crc32(author.page.encode()):016x}.jpg"
    # Seeded by the address and not by the plan, so that an account always looks the same.
    rng = random.Random(author.uri)
    if rng.random() < 0.2:
        header = f"https://{observer}/headers/original/missing.png"
    emojis = [rng.choice(words.CUSTOM_EMOJI)] if rng.random() < 0.08 else []
    return {
        "id": account_id,
        "username": author.username,
        "acct": author.acct(observer),
        "display_name": " ".join(
            [author.username.replace("_", " ").title(), *(f":{code}:" for code in emojis)]
        ),
        "locked": False,
        "bot": author.bot,
        "discoverable": not author.noindex,
        "indexable": author.indexable,
        "group": False,
        "created_at": f"{rng.randint(2017, 2025)}-{rng.randint(1, 12):02d}-07T00:00:00.000Z",
        "note": _note(author, rng),
        "url": author.page,
        "uri": author.uri,
        "avatar": avatar,
        "avatar_static": avatar,
        "header": header,
        "header_static": header,
        "followers_count": rng.randint(0, 900),
        "following_count": rng.randint(0, 500),
        "statuses_count": rng.randint(10, 40_000),
        "last_status_at": "2026-01-01",
        "hide_collections": rng.choice((False, False, None)),
        **({"noindex": author.noindex} if local else {}),
        "emojis": [_emoji(observer, code) for code in emojis],
        **({"roles": []} if local else {}),
        "fields": _fields(author, rng),
    }


def _note(author: Author, rng: random.Random) -> str:
    pool = words.SENTENCES[author.language or "en"]
    note = f"<p>{html(' '.join(rng.sample(pool, rng.choices((1, 2, 3), (50, 40, 10))[0])))}</p>"
    if rng.random() < 0.35:
        tags = rng.sample(words.TAGS, rng.randint(1, 3))
        note += f"<p>{' '.join(hashtag_html(author.server, tag) for tag in tags)}</p>"
    return note


def _fields(author: Author, rng: random.Random) -> list[dict[str, str | None]]:
    count = rng.choices((0, 1, 2, 4), (50, 18, 20, 12))[0]
    fields: list[dict[str, str | None]] = [
        {
            "name": name,
            "value": link_html(address.format(author.username), "nofollow noopener me"),
            "verified_at": "2025-09-28T07:08:15.745+00:00" if rng.random() < 0.3 else None,
        }
        if address
        else {"name": name, "value": "they/them", "verified_at": None}
        for name, address in words.PROFILE_FIELDS
    ]
    return fields[:count]


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


def quote_link(quoted: Toot) -> str:
    """Return the paragraph that software without quotes shows; see FEP-044f."""
    address = f"{quoted.author.page}/{quoted.uri.rpartition('/')[2]}"
    return f'<p class="quote-inline">RE: {link_html(address)}</p>'


def _quote(quoted: Toot, observer: str, status_id: int) -> dict[str, Any]:
    """Return the Quote entity; a deleted toot has only a state."""
    if quoted.deleted:
        return {"state": "deleted", "quoted_status": None}
    listed = quoted.listed.get(observer, status_id - 2)
    return {"state": "accepted", "quoted_status": _status(quoted, observer, listed)}


def _emoji(observer: str, shortcode: str) -> dict[str, Any]:
    url = f"https://files.{observer}/custom_emojis/{shortcode}.png"
    return {"shortcode": shortcode, "url": url, "static_url": url, "visible_in_picker": True}


def _media(observer: str, status_id: int, position: int) -> dict[str, Any]:
    media_id = str(status_id + position + 1)
    path = "/".join(media_id[i : i + 3] for i in range(0, len(media_id), 3))
    files = f"https://files.{observer}/media_attachments/files/{path}"
    name = f"{zlib.crc32(media_id.encode()):016x}.webp"
    return {
        "id": media_id,
        "type": "image",
        "url": f"{files}/original/{name}",
        "preview_url": f"{files}/small/{name}",
        "remote_url": None,
        "preview_remote_url": None,
        "text_url": None,
        "meta": {
            "original": {"width": 1600, "height": 1200, "size": "1600x1200", "aspect": 1.3333333},
            "small": {"width": 554, "height": 416, "size": "554x416", "aspect": 1.3317307},
        },
        "description": "A harbour in the fog" if status_id % 2 else None,
        "blurhash": "UeKUpMxuo~R%0nW;WCof9FR%%LRjM{oeWBof",
    }
