"""GoToSocial's dialect: ULIDs as ids, streams by WebSocket only, a closed timeline by default.

See: https://docs.gotosocial.org/en/latest/api/swagger/ and its internal/api/client/streaming.
"""

import zlib
from typing import Any

import msgspec

from infra.simulator.dialect import Dialect

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {digit: value for value, digit in enumerate(_CROCKFORD)}
_MASTODON_ONLY = ("quote", "quotes_count", "quote_approval")


def ulid(number: int) -> str:
    """Return the ULID of a snowflake id (milliseconds << 16 with a sequence in the low bits).

    The id is the ULID's time and the first 16 bits of its random part, so both sort alike; the
    rest looks random to a client. See: https://github.com/ulid/spec
    """
    text = str(number).encode()
    value = number << 64 | zlib.crc32(text) << 32 | zlib.crc32(text[::-1])
    return "".join(_CROCKFORD[value >> 5 * place & 31] for place in range(25, -1, -1))


def ulid_number(text: str) -> int:
    """Return the snowflake id of a ULID; for other text an id that sorts like the text."""
    value = 0
    for digit in text.upper()[:26].ljust(26, "0"):
        value = value * 32 + _VALUES.get(digit, 0)
    return value >> 64


def gotosocial_status(payload: bytes) -> bytes:
    """Convert Mastodon's JSON of a status to GoToSocial's."""
    status: dict[str, Any] = msgspec.json.decode(payload)
    if status["quote"]:
        # Written here, a toot would link to what it quotes in words of its author's.
        status["content"] = status["content"].partition("</p>")[2]
    for name in _MASTODON_ONLY:
        status.pop(name, None)
    for entity in (status, status["account"], *status["media_attachments"], *status["mentions"]):
        entity["id"] = ulid(int(entity["id"]))
    for name in ("in_reply_to_id", "in_reply_to_account_id"):
        if status[name] is not None:
            status[name] = ulid(int(status[name]))
    # Not the author's wish: whoever has not opted in to search, of other servers as well.
    status["account"]["noindex"] = not status["account"]["indexable"]
    status |= {"local_only": False, "content_type": "text/plain", "interaction_policy": {}}
    return msgspec.json.encode(status)


def gotosocial_instance(mastodon: dict[str, Any]) -> dict[str, Any]:
    """Convert Mastodon's Instance entity to GoToSocial's, which does not reveal feed access."""
    configuration = {k: v for k, v in mastodon["configuration"].items() if k != "timelines_access"}
    return mastodon | {
        "account_domain": mastodon["domain"],
        "source_url": "https://codeberg.org/superseriousbusiness/gotosocial",
        "configuration": configuration,
    }


GOTOSOCIAL = Dialect(
    id_text=ulid,
    id_number=ulid_number,
    status=gotosocial_status,
    channels=frozenset({"public", "public:local"}),
    server_sent_events=False,
)
