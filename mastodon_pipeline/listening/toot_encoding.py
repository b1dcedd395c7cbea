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


def encoded(record: Mapping[str, Any]) -> bytes:
    """The record's Avro bytes, without Confluent's header. Raises one of NOT_PLAIN."""
    favourites, tags, mentions, media = (
        record["favourites"],
        record["tags"],
        record["mentions"],
        record["media"],
    )
    characters, words = record["characters"], record["words"]
    if (favourites | tags | mentions | media | characters | words) >> _SMALL_BITS:
        raise ValueError("a number that is negative or large")
    return b"".join(
        (
            _repeated_text(record["event"]),
            _text(record["uri"]),
            _text(record["status_id"]),
            _repeated_text(record["base_url"]),
            _repeated_text(record["server"]),
            _long(record["created_at"]),
            _nullable_long(record["edited_at"]),
            _long(record["ingested_at"]),
            _repeated_text(record["source"]),
            _text(record["username"]),
            _text(record["acct"]),
            _TRUE if record["bot"] else _FALSE,
            _repeated_text(record["app"]),
            _text(record["url"]),
            _repeated_text(record["language"]),
            _repeated_text(record["language_primary"]),
            _SMALL[favourites],
            _SMALL[tags],
            _texts(record["tag_names"]),
            _SMALL[characters],
            _SMALL[words],
            _SMALL[mentions],
            _SMALL[media],
            _text(record["mastodon_text"]),
            _repeated_text(record["visibility"]),
            _TRUE if record["sensitive"] else _FALSE,
            _TRUE if record["reply"] else _FALSE,
            _nullable_boolean(record["indexable"]),
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
_SMALL = [_long(number) for number in range(1 << _SMALL_BITS)]


def _text(text: str) -> bytes:
    encoded = text.encode()
    length = len(encoded)
    return (_SMALL[length] if length < len(_SMALL) else _long(length)) + encoded


_repeated_text = lru_cache(4096)(_text)
"""For what comes again and again: servers, languages, applications."""


def _texts(texts: Sequence[str]) -> bytes:
    # One block of so many, and the block of none that ends the array.
    return b"".join((_long(len(texts)), *map(_text, texts), b"\0")) if len(texts) else b"\0"


def _nullable_long(value: int | None) -> bytes:
    if value is None:
        return _NULL
    if type(value) is int:
        return _NOT_NULL + _long(value)
    raise TypeError("neither null nor a number")


def _nullable_boolean(value: bool | None) -> bytes:
    if value is None:
        return _NULL
    if value is True or value is False:
        return _NOT_NULL + (_TRUE if value else _FALSE)
    raise TypeError("neither null nor a boolean")
