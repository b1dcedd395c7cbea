"""A whole record of the topic as Avro, field by field in the schema's order.

fastavro asks of every field of every record anew what it is: 8.4 µs a toot, more than any other
step. Written out it takes 3.5 µs (3,000 simulated toots, one core). Only a whole record of plain
values is written here; for all else `toot_schema.encode` goes to fastavro. The tests hold both
against each other, byte for byte, so a change of the schema that is forgotten here fails them.

See: https://avro.apache.org/docs/1.12.0/specification/#binary-encoding
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

NOT_PLAIN = (KeyError, TypeError, AttributeError, ValueError)
"""What `encoded` raises for a record that lacks a field, or holds what only fastavro can judge."""
_FALSE, _TRUE = b"\0", b"\1"
_NULL, _NOT_NULL = b"\0", b"\2"
"""Which branch of a union follows."""
_NO_TEXTS = b"\0"
_MOST_REMEMBERED = 512
"""Characters."""


def encoded(record: Mapping[str, Any], header: bytes = b"") -> bytes:
    """The record's Avro bytes after `header`. Raises one of NOT_PLAIN."""
    favourites, tags, mentions, media = (
        record["favourites"],
        record["tags"],
        record["mentions"],
        record["media"],
    )
    characters, words = record["characters"], record["words"]
    edited_at, tag_names, indexable = record["edited_at"], record["tag_names"], record["indexable"]
    server, app, language = record["server"], record["app"], record["language"]
    visibility = record["visibility"]
    # What strangers wrote is remembered only while it is short: our memory is not theirs to fill.
    short = len(server) + len(app) + len(language) + len(visibility) < _MOST_REMEMBERED
    often = _repeated_text if short else _text
    if (favourites | tags | mentions | media | characters | words) >> _SMALL_BITS:
        raise ValueError("a number that is negative or large")
    return b"".join(
        (
            header,
            _repeated_text(record["event"]),
            _text(record["uri"]),
            _text(record["status_id"]),
            _repeated_text(record["base_url"]),
            often(server),
            _long(record["created_at"]),
            _NULL if edited_at is None else _given_long(edited_at),
            _long(record["ingested_at"]),
            _repeated_text(record["source"]),
            _text(record["username"]),
            _text(record["acct"]),
            _TRUE if record["bot"] else _FALSE,
            often(app),
            _text(record["url"]),
            often(language),
            often(record["language_primary"]),
            _SMALL[favourites],
            _SMALL[tags],
            _NO_TEXTS if tag_names == [] else _texts(tag_names),
            _SMALL[characters],
            _SMALL[words],
            _SMALL[mentions],
            _SMALL[media],
            _text(record["mastodon_text"]),
            often(visibility),
            _TRUE if record["sensitive"] else _FALSE,
            _TRUE if record["reply"] else _FALSE,
            _NULL if indexable is None else _given_boolean(indexable),
        )
    )


def _long(number: int) -> bytes:
    zigzag = number << 1 if number >= 0 else ~(number << 1)
    if 1 << 35 <= zigzag < 1 << 42:  # Any time of the years 1971 to 2038: six bytes.
        return bytes(
            (
                zigzag & 127 | 128,
                zigzag >> 7 & 127 | 128,
                zigzag >> 14 & 127 | 128,
                zigzag >> 21 & 127 | 128,
                zigzag >> 28 & 127 | 128,
                zigzag >> 35,
            )
        )
    if zigzag >> 64:
        raise ValueError("no long of Avro's")
    found = bytearray()
    while zigzag > 127:
        found.append(zigzag & 127 | 128)
        zigzag >>= 7
    found.append(zigzag)
    return bytes(found)


_SMALL_BITS = 13
_SMALL_COUNT = 1 << _SMALL_BITS
_SMALL = [_long(number) for number in range(_SMALL_COUNT)]


def _text(text: str) -> bytes:
    encoded = text.encode()
    length = len(encoded)
    return (_SMALL[length] if length < _SMALL_COUNT else _long(length)) + encoded


_repeated_text = lru_cache(4096)(_text)
"""For what comes again and again: servers, languages, applications."""


def _texts(texts: Sequence[str]) -> bytes:
    # One block of so many, and the block of none that ends the array.
    return b"".join((_long(len(texts)), *map(_text, texts), _NO_TEXTS)) if len(texts) else _NO_TEXTS


def _given_long(value: int) -> bytes:
    if type(value) is not int:
        raise TypeError("neither null nor a number")
    return _NOT_NULL + _long(value)


def _given_boolean(value: bool) -> bytes:
    if type(value) is not bool:
        raise TypeError("neither null nor a boolean")
    return _NOT_NULL + (_TRUE if value else _FALSE)
