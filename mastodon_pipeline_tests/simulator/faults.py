"""What can go wrong with a server, on request: wrong answers, dropped connections, bad events."""

import time
from dataclasses import dataclass

MALFORMED: dict[str, bytes] = {
    "bad_json": b'{"id": "1", "content": ',
    "bad_utf8": b'{"id": "1", "uri": "x", "content": "\xff\xfe\xc3"}',
    "not_an_object": b'["a", "b"]',
    "empty_object": b"{}",
    "null": b"null",
    "deep_nesting": b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b"}",
}
"""Payloads of an `update` that no reader can make a toot of."""

ODD: dict[str, str] = {
    "null_lists": '"tags": null, "mentions": null, "media_attachments": null, "emojis": null',
    "huge_ints": f'"favourites_count": {2**80}, "tags": [], "mentions": []',
    "lone_surrogate": '"spoiler_text": "\\ud800", "tags": []',
    "nul": '"spoiler_text": "a\\u0000b", "tags": []',
    "missing_account_fields": '"tags": []',
}
"""Oddities of an `update` that is a toot all the same: a tolerant reader gets its uri and text."""


def odd_status(name: str, domain: str, number: int) -> tuple[str, bytes]:
    """The uri and payload of a status by nobody in particular with the named oddity.

    Raises KeyError for a name that is not in `ODD`. Such statuses are no part of the truth.
    """
    uri = f"https://{domain}/users/odd/statuses/{number}"
    account = '{"username": "odd", "acct": "odd"}'
    return uri, (
        f'{{"id": "{number}", "uri": "{uri}", "created_at": "2026-01-01T00:00:00.000Z", '
        f'"account": {account}, "content": "<p>odd</p>", "visibility": "public", {ODD[name]}}}'
    ).encode()


@dataclass(slots=True)
class Faults:
    """A server's current faults; each timed one ends by itself (times: `time.monotonic()`)."""

    status: int = 0
    status_until: float = 0.0
    drop_until: float = 0.0

    def answer(self, status: int, seconds: float) -> None:
        """Answer every request with this HTTP status for so many seconds."""
        self.status, self.status_until = status, time.monotonic() + seconds

    def drop(self, seconds: float) -> None:
        """Reset every new connection for so many seconds, before a word is said."""
        self.drop_until = time.monotonic() + seconds

    def clear(self) -> None:
        """Everything is well again."""
        self.status_until = self.drop_until = 0.0

    @property
    def dropping(self) -> bool:
        return time.monotonic() < self.drop_until

    @property
    def answering(self) -> int | None:
        """The HTTP status that every request gets now, or None."""
        return self.status if time.monotonic() < self.status_until else None
