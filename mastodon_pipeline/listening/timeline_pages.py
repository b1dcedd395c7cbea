"""Reading a server's public timeline forward, page by page.

`min_id` pages forward from an id to the newest and leaves no hole (`since_id` would return the
newest page only). Ids are opaque; among one server's, the longer is the later, then the greater.
See: https://docs.joinmastodon.org/methods/timelines/#public
"""

import asyncio
import re
from collections.abc import Mapping

from mastodon_pipeline.listening.connections import Connections
from mastodon_pipeline.listening.rate_budget import RateBudget
from mastodon_pipeline.listening.server_session import Refused, Unreachable
from mastodon_pipeline.listening.statuses import UndecodableStatus, decode_page
from mastodon_pipeline.settings import Feed

PAGE_LIMIT = 40
"""Statuses a page, Mastodon's maximum."""
BEFORE_EVERYTHING = "0"
"""An id before all others: where an empty timeline is read on from."""
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
    ) -> None:
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

        Waits for the rate budget, a 429 included.
        Raises Refused for other HTTP errors, Unreachable, UnsafeAddress, CrossHostRedirect.
        """
        params = self._params | ({"min_id": min_id} if min_id is not None else {})
        while True:
            async with self._budget.turn:
                while (delay := self._budget.delay()) > 0:
                    await asyncio.sleep(delay)
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
