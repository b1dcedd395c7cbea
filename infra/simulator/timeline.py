"""A server's public timeline, and its pages.

See: Mastodon's `Paginable` and `PublicFeed`; https://docs.joinmastodon.org/methods/timelines/
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass

from infra.simulator.content import Toot
from infra.simulator.dialect import MASTODON, Dialect
from infra.simulator.status import status_json

DEFAULT_LIMIT, MAXIMUM_LIMIT = 20, 40


@dataclass(frozen=True, slots=True)
class Page:
    """The page that a client requests. Ids are exclusive; `min_id` overrides `since_id`."""

    local: bool = True
    """Include toots of local authors."""
    remote: bool = True
    only_media: bool = False
    limit: int = DEFAULT_LIMIT
    max_id: int | None = None
    since_id: int | None = None
    min_id: int | None = None
    languages: tuple[str, ...] = ()
    """Of the toots to include; () for all."""


class Timeline:
    """Toots by id; like Mastodon's scope it takes only those that public feeds show."""

    def __init__(self, domain: str, dialect: Dialect = MASTODON) -> None:
        self._domain = domain
        self._dialect = dialect
        self._ids: list[int] = []
        self._toots: dict[int, Toot] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, status_id: int, toot: Toot) -> bool:
        """Add a toot; return False for a toot that is in no public feed."""
        if not toot.in_public_feeds:
            return False
        insort(self._ids, status_id)  # at the end, except for backdated ids
        self._toots[status_id] = toot
        return True

    def remove(self, status_id: int) -> bool:
        """Remove a toot; return False if it was not listed."""
        if self._toots.pop(status_id, None) is None:
            return False
        del self._ids[bisect_left(self._ids, status_id)]
        return True

    def page(self, wanted: Page) -> list[int]:
        """List the ids of a page, newest first.

        With `min_id` the page starts right after that id and goes forward. With `since_id` it holds
        the newest toots down to that id, so those beyond `limit` are left out.
        """
        first = 0
        after = wanted.min_id if wanted.min_id is not None else wanted.since_id
        if after is not None:
            first = bisect_right(self._ids, after)
        end = len(self._ids)
        if wanted.max_id is not None:
            end = bisect_left(self._ids, wanted.max_id)
        forward = wanted.min_id is not None
        positions = range(first, end) if forward else range(end - 1, first - 1, -1)
        ids = self._matching(positions, wanted)
        return ids[::-1] if forward else ids

    def json(self, ids: Iterable[int]) -> bytes:
        """Return statuses as a JSON array."""
        return b"[" + b",".join(self.status(i) for i in ids) + b"]"

    def status(self, status_id: int) -> bytes:
        """Return a listed toot's current JSON."""
        return self._dialect.status(status_json(self._toots[status_id], self._domain, status_id))

    def _matching(self, positions: range, wanted: Page) -> list[int]:
        ids: list[int] = []
        for position in positions:
            if len(ids) >= wanted.limit:
                break
            status_id = self._ids[position]
            toot = self._toots[status_id]
            side = wanted.local if toot.server == self._domain else wanted.remote
            chosen = not wanted.languages or toot.language in wanted.languages
            if side and chosen and (toot.media or not wanted.only_media):
                ids.append(status_id)
        return ids
