"""Reading a server's public timeline forward, page by page.

`min_id` pages forward from an id to the newest and leaves no hole (`since_id` would return the
newest page only). Ids are opaque; among one server's, the longer is the later, then the greater.
See: https://docs.joinmastodon.org/methods/timelines/#public
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping

from mastodon_pipeline.errors import Refused, UndecodableStatus, Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.protocol.ids import listed_at
from mastodon_pipeline.listening.protocol.statuses import decode_page, status_id_of
from mastodon_pipeline.servers import Feed

PAGE_LIMIT = 40
"""Statuses a page, Mastodon's maximum."""
BEFORE_EVERYTHING = "0"
"""An id before all others: where an empty timeline is read on from."""
_FIRST_PAGES = 50
"""How many further pages are read, at most, when the first look at a feed comes late."""
_LONGEST_CACHE_SECONDS = 300.0
_MAX_AGE = re.compile(r"\b(?:s-)?max-?age\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


def later(one: str, other: str) -> str:
    """The later of two ids of one server; '' is before all."""
    if len(one) != len(other):
        return one if len(one) > len(other) else other
    return one if one > other else other


class TimelineReader:
    """One server's public timeline, asked no more often than the server likes."""

    def __init__(
        self,
        base_url: str,
        feed: Feed,
        token: str | None,
        connections: Connections,
        budget: RateBudget,
        wanted_since: int | None = None,
        refused: Callable[[float], None] | None = None,
    ) -> None:
        """`wanted_since`: since when the feed is wanted, UTC milliseconds; None: since now.

        `refused` is told how many seconds a 429 makes us wait.
        """
        self._wanted_since = wanted_since
        self._refused = refused
        self._url = f"{base_url}/api/v1/timelines/public"
        self._params = {"limit": str(PAGE_LIMIT)}
        if feed != "public":
            self._params[feed] = "true"
        self._token = token
        self._connections = connections
        self._budget = budget
        self.cached_for = 0.0
        """How long, seconds, the server said that its last answer would stay the same."""

    async def page(self, min_id: str | None) -> list[bytes]:
        """The statuses right after `min_id` (the newest ones where None), oldest first, raw JSON.

        The newest are one page, and further back what was listed since the feed is wanted: the
        first look may come late. Where ids tell no time it is one page, and the rest is lost.
        Waits for the rate budget, a 429 included.
        Raises Refused for other HTTP errors, Unreachable, UnsafeAddress, CrossHostRedirect.
        """
        if min_id is not None:
            return await self._page({"min_id": min_id})
        found = last = await self._page({})
        for _ in range(_FIRST_PAGES):
            oldest = status_id_of(last[0]) if len(last) >= PAGE_LIMIT else ""
            at = listed_at(oldest, time.time_ns() // 1_000_000)
            if at is None or self._wanted_since is None or at < self._wanted_since:
                break
            last = await self._page({"max_id": oldest})
            found = last + found
        return found

    async def _page(self, place: Mapping[str, str]) -> list[bytes]:
        params = {**self._params, **place}
        while True:
            while (delay := self._budget.delay()) > 0:
                if self._refused is not None and (wait := self._budget.refused_for()) > 0:
                    self._refused(wait)
                await asyncio.sleep(delay)
            async with self._budget.turn:
                if self._budget.delay() > 0:
                    continue  # Another feed of this host has just asked.
                try:
                    body = await self._get(params)
                except Refused as refused:
                    self._budget.observe(refused.status, refused.headers)
                    if refused.status == 429:
                        continue
                    raise
            try:
                return decode_page(body)[::-1]
            except UndecodableStatus as error:
                raise Unreachable(f"the timeline is no page of statuses: {error}") from None

    async def knock(self) -> None:
        """Asks for the newest page at once and drops it.

        Raises as `page` does, and Refused for a 429 too.
        """
        await self._get(self._params)

    async def _get(self, params: Mapping[str, str]) -> bytes:
        body, headers = await self._connections.get(self._url, params, self._token)
        self._budget.observe(200, headers)
        told = _MAX_AGE.findall(headers.get("Cache-Control", ""))
        self.cached_for = min(max(map(float, told), default=0.0), _LONGEST_CACHE_SECONDS)
        return body
