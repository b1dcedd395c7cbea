"""GoToSocial's ways: ULIDs for ids, streams by WebSocket alone, a closed timeline by default.

See: https://docs.gotosocial.org/en/latest/api/swagger/ and its internal/api/client/streaming.
"""

import zlib
from typing import Any

import msgspec

from infra.simulator.dialect import Dialect

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_VALUES = {digit: value for value, digit in enumerate(_CROCKFORD)}
_MASTODONS_OWN = ("quote", "quotes_count", "quote_approval")


def ulid(number: int) -> str:
    """The ULID of a snowflake number (milliseconds << 16 with a sequence beneath).

    Its time and the first 16 bits of its random part are the number, so both sort alike; the
    rest is random to a client. See: https://github.com/ulid/spec
    """
    text = str(number).encode()
    value = number << 64 | zlib.crc32(text) << 32 | zlib.crc32(text[::-1])
    return "".join(_CROCKFORD[value >> 5 * place & 31] for place in range(25, -1, -1))


def ulid_number(text: str) -> int:
    """The number behind a ULID; for another text a number that sorts as the text would."""
    value = 0
    for digit in text.upper()[:26].ljust(26, "0"):
        value = value * 32 + _VALUES.get(digit, 0)
    return value >> 64


def gotosocial_status(payload: bytes) -> bytes:
    """Mastodon's JSON of a status as GoToSocial tells it."""
    status: dict[str, Any] = msgspec.json.decode(payload)
    for name in _MASTODONS_OWN:
        status.pop(name, None)
    for entity in (status, status["account"], *status["media_attachments"], *status["mentions"]):
        entity["id"] = ulid(int(entity["id"]))
    for name in ("in_reply_to_id", "in_reply_to_account_id"):
        if status[name] is not None:
            status[name] = ulid(int(status[name]))
    status |= {"content_type": "text/plain", "interaction_policy": {}}
    return msgspec.json.encode(status)


def gotosocial_instance(mastodons: dict[str, Any]) -> dict[str, Any]:
    """GoToSocial's account of itself, from Mastodon's; it says nothing of who may read feeds."""
    configuration = {k: v for k, v in mastodons["configuration"].items() if k != "timelines_access"}
    return mastodons | {
        "account_domain": mastodons["domain"],
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
