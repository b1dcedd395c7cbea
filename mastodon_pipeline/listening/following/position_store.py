"""Where the positions of all feeds are saved, so that another process can go on from them."""

from collections.abc import Collection
from typing import Protocol

import msgspec

from mastodon_pipeline.listening.client.robots import HostRules
from mastodon_pipeline.listening.following.instance import InstanceInfo
from mastodon_pipeline.listening.following.statistics import UnfilledGap
from mastodon_pipeline.listening.following.tally import SavedTally


class SavedPosition(msgspec.Struct, frozen=True):
    """How far a feed had been read, and what was known of its server."""

    last_id: str | None = None
    """Everything up to this id is in Kafka; None if nothing has been read yet."""
    unfilled_gaps: tuple[UnfilledGap, ...] = ()
    instance: InstanceInfo | None = msgspec.field(default=None, name="discovered")
    """The server's instance info; `discovered` in the saved JSON, since the first version."""
    wanted_since_ms: int | None = None
    """When a listener first followed the feed, UTC milliseconds: without `last_id` the next one
    reads the timeline back to it."""
    robots: tuple[HostRules, ...] = ()
    """What the robots.txt of the server's hosts said."""
    from_landed: bool = False
    """Kafka had lost the position. Reading went on from what had landed by then, so that what an
    earlier topic had acknowledged, and the sink had not read, was read again."""


class PositionStore(Protocol):
    """Saves positions by `feed_key`, and tallies of what was read."""

    def read(self, feeds: Collection[str] = ()) -> dict[str, SavedPosition]:
        """Return every saved position, by `feed_key`; those of `feeds` from wherever one is."""

    def check(self) -> None:
        """Raise DeliveryFailed if what was acknowledged is gone; takes seconds at most."""

    def write(self, key: str, position: SavedPosition) -> None:
        """Save one position; it may reach the store a moment later."""

    def write_tally(self, tally: SavedTally) -> bool:
        """Save a tally in place of the one with its key; return whether there was room for it."""

    def flush(self) -> None:
        """Wait, for seconds at most, until the store has what was written."""


def feed_key(base_url: str, feed: str) -> str:
    """Return the key of a server's feed: ids of different servers and feeds do not compare."""
    return f"{base_url} {feed}"
