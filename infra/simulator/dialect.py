"""How different server software tells the same: the forms of ids, statuses and streams."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Software = Literal["mastodon", "gotosocial"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """What a simulated server makes of its own numbers and of Mastodon's JSON."""

    id_text: Callable[[int], str]
    """An id as clients see it. Ids are opaque to them; their order is that of the numbers."""
    id_number: Callable[[str], int]
    """The number behind an id that a client names; where it is none, as the software reads it."""
    status: Callable[[bytes], bytes]
    """A status from Mastodon's JSON."""
    channels: frozenset[str]
    """What can be streamed."""
    server_sent_events: bool
    """False: WebSockets alone, all other streaming paths are 404."""


def _integer(text: str) -> int:
    """As Ruby reads it: what is no number is 0."""
    try:
        return int(text)
    except ValueError:
        return 0


MASTODON = Dialect(
    id_text=str,
    id_number=_integer,
    status=lambda payload: payload,
    channels=frozenset(
        {
            *("public", "public:local", "public:remote"),
            *("public:media", "public:local:media", "public:remote:media"),
        }
    ),
    server_sent_events=True,
)
