"""What can go wrong with a server, on request: wrong answers, dropped connections, bad events."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Endpoint = Literal["instance", "timeline", "streaming", "other"]
"""What a request is for; `/health` and `/oauth` are among the others."""
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
REQUEST_FAULTS = frozenset(
    {
        *("answer", "drop", "hang", "hang_up", "cut_body", "trickle", "redirect"),
        *("bomb", "endless_header", "endless_line", "garbage"),
    }
)
"""What can become of a request: see `fault_answers`."""

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


@dataclass(frozen=True, slots=True)
class Fault:
    """What becomes of requests until `until` (`time.monotonic()`)."""

    kind: str
    until: float
    status: int = 503
    """For `answer`: the HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """For `answer`."""
    target: str = ""
    """For `redirect`: scheme and authority of another server; '' is this one."""
    megabytes: int = 64
    """For what is large: its size, unpacked (2^20 bytes each)."""


@dataclass(slots=True)
class Faults:
    """A server's current faults; each ends by itself."""

    _current: dict[Endpoint, Fault] = field(default_factory=dict)

    def begin(self, fault: Fault, endpoint: Endpoint | None = None) -> None:
        """From now on, at one endpoint or at all of them; replaces the fault that was there."""
        for one in [endpoint] if endpoint else ENDPOINTS:
            self._current[one] = fault

    def of(self, endpoint: Endpoint) -> Fault | None:
        """What becomes of such a request now; None where all is well."""
        fault = self._current.get(endpoint)
        return fault if fault is not None and time.monotonic() < fault.until else None

    def clear(self) -> None:
        """Everything is well again."""
        self._current.clear()


def endpoint_of(path: str) -> Endpoint:
    """What a request with this path is for."""
    if path.startswith("/api/v1/streaming") and not path.rstrip("/").endswith("health"):
        return "streaming"
    if path.startswith("/api/v1/timelines/"):
        return "timeline"
    return "instance" if path.startswith(("/api/v1/instance", "/api/v2/instance")) else "other"
