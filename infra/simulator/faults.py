"""Faults of a server, on request: wrong answers, dropped connections, malformed events."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

Endpoint = Literal["instance", "timeline", "streaming", "robots", "other"]
"""What a request is for; `robots` is `/robots.txt`, `other` includes `/health` and `/oauth`."""
ENDPOINTS: tuple[Endpoint, ...] = get_args(Endpoint)
REQUEST_FAULTS = frozenset(
    {
        *("answer", "wall", "drop", "hang", "hang_up", "cut_body", "trickle", "redirect"),
        *("bomb", "endless_header", "endless_line", "garbage", "slow_header", "json", "elsewhere"),
    }
)
"""Faults of requests; see `fault_answers`."""

MALFORMED: dict[str, bytes] = {
    "bad_json": b'{"id": "1", "content": ',
    "bad_utf8": b'{"id": "1", "uri": "x", "content": "\xff\xfe\xc3"}',
    "not_an_object": b'["a", "b"]',
    "empty_object": b"{}",
    "null": b"null",
    "deep_nesting": b'{"id": ' + b"[" * 5000 + b"]" * 5000 + b"}",
}
"""Payloads of an `update` from which no toot can be decoded."""

ODD: dict[str, str] = {
    "null_lists": '"tags": null, "mentions": null, "media_attachments": null, "emojis": null',
    "huge_ints": f'"favourites_count": {2**80}, "tags": [], "mentions": []',
    "lone_surrogate": '"spoiler_text": "\\ud800", "tags": []',
    "nul": '"spoiler_text": "a\\u0000b", "tags": []',
    "missing_account_fields": '"tags": []',
}
"""Irregular fields of an `update` from which a tolerant reader can still decode uri and text."""


def odd_status(name: str, domain: str, number: int) -> tuple[str, bytes]:
    """Return uri and payload of a status with the named irregularity; it is not part of the truth.

    Raises KeyError for a name that is not in `ODD`.
    """
    uri = f"https://{domain}/users/odd/statuses/{number}"
    account = '{"username": "odd", "acct": "odd"}'
    return uri, (
        f'{{"id": "{number}", "uri": "{uri}", "created_at": "2026-01-01T00:00:00.000Z", '
        f'"account": {account}, "content": "<p>odd</p>", "visibility": "public", {ODD[name]}}}'
    ).encode()


@dataclass(frozen=True, slots=True)
class Fault:
    """How requests are answered until `until` (`time.monotonic()`)."""

    kind: str
    until: float
    status: int = 503
    """For `answer` and `wall`: the HTTP status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """For `answer`."""
    target: str = ""
    """For `redirect` and `elsewhere`: scheme and authority of another server; '' for this one."""
    megabytes: int = 64
    """For large answers: their size, decompressed (in 2^20 bytes)."""
    text: str = ""
    """For `json`: the body. For `elsewhere`: the document that names the other server."""
    path: str = ""
    """Only requests whose path begins with this: `/api/v2/` of a server whose `/api/v1/` works."""


@dataclass(slots=True)
class Faults:
    """A server's current faults; each expires."""

    _current: dict[Endpoint, Fault] = field(default_factory=dict)

    def inject(self, fault: Fault, endpoint: Endpoint | None = None) -> None:
        """Set the fault of an endpoint, or of all."""
        self._current.update(dict.fromkeys([endpoint] if endpoint else ENDPOINTS, fault))

    def of(self, endpoint: Endpoint, path: str) -> Fault | None:
        """Return the current fault of a path, which belongs to an endpoint, or None."""
        fault = self._current.get(endpoint)
        if fault is None or time.monotonic() >= fault.until or not path.startswith(fault.path):
            return None
        return fault

    def clear(self) -> None:
        """End all faults."""
        self._current.clear()


def endpoint_of(path: str) -> Endpoint:
    """Return what a request with this path is for."""
    if path.startswith("/api/v1/streaming") and not path.rstrip("/").endswith("health"):
        return "streaming"
    if path.startswith("/api/v1/timelines/"):
        return "timeline"
    if path == "/robots.txt":
        return "robots"
    return "instance" if path.startswith(("/api/v1/instance", "/api/v2/instance")) else "other"
