"""Differences between server software: the forms of ids, statuses and streams."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Software = Literal["mastodon", "gotosocial"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How server software presents ids, statuses and streams."""

    id_text: Callable[[int], str]
    """The text of an id, as clients see it; it sorts like the number."""
    id_number: Callable[[str], int]
    """The number of an id that a client sent; an invalid id is read as the software does."""
    status: Callable[[bytes], bytes]
    """Converts Mastodon's JSON of a status."""
    channels: frozenset[str]
    """The channels that can be streamed."""
    server_sent_events: bool
    """False: WebSockets only; all other streaming paths answer 404."""


def ruby_integer(text: str) -> int:
    """Parse an integer as Ruby's `to_i`: 0 for what is not a number."""
    try:
        return int(text)
    except ValueError:
        return 0


MASTODON = Dialect(
    id_text=str,
    id_number=ruby_integer,
    status=lambda payload: payload,
    channels=frozenset(
        {
            *("public", "public:local", "public:remote"),
            *("public:media", "public:local:media", "public:remote:media"),
        }
    ),
    server_sent_events=True,
)
