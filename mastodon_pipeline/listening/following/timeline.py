"""Reading a server's public timeline forward, page by page.

`min_id` pages forward from an id to the newest without leaving a hole (`since_id` returns the
newest page only).
See: https://docs.joinmastodon.org/methods/timelines/#public
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping

from mastodon_pipeline.errors import Refused, UndecodableStatus, Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.protocol.ids import later, listed_at
from mastodon_pipeline.listening.protocol.statuses import decode_page, status_id_of
from mastodon_pipeline.servers import Feed

PAGE_LIMIT = 40
"""Statuses per page, Mastodon's maximum."""
BEFORE_EVERYTHING = "0"
"""An id before all others: where reading an empty timeline continues."""
_FIRST_PAGES = 50
"""How many further pages are read, at most, if the first read of a feed is late."""
_MAX_CACHE_SECONDS = 300.0
_MAX_AGE = re.compile(r"\b(?:s-)?max-?age\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


class TimelineReader:
    """Reads one server's public timeline, no more often than the server allows."""

    def __init__(
        self,
        base_url: str,
        feed: Feed,
        token: str | None,
        connections: Connections,
        budget: RateBudget,
        wanted_since: int | None = None,
        on_429: Callable[[float], None] | None = None,
        on_headers: Callable[[Mapping[str, str]], None] = lambda _: None,
    ) -> None:
        """`wanted_since`: since when the feed is wanted, UTC milliseconds; None: since now.

        `on_429` is called with the seconds that a 429 makes us wait, `on_headers` with the
        headers of each page.
        """
        self._wanted_since = wanted_since
        self._on_429 = on_429
        self._on_headers = on_headers
        self._url = f"{base_url}/api/v1/timelines/public"
        self._params = {"limit": str(PAGE_LIMIT)}
        if feed != "public":
            self._params[feed] = "true"
        self._token = token
        self._connections = connections
        self._budget = budget
        self.cached_seconds = 0.0
        """How long the server caches its last response."""

    async def page(self, min_id: str | None) -> list[bytes]:
        """Return the statuses right after `min_id`, oldest first, as raw JSON.

        Without `min_id`: the newest page, and further pages back to when the feed was first
        wanted, since the first read may be late. If the ids contain no time it is one page, and
        the rest is lost. Waits for the rate budget, and after a 429.

        Raises Refused for other HTTP errors, and Unreachable, UnsafeAddress, CrossHostRedirect as
        `Connections.get` does.
        """
        if min_id is not None:
            return await self._page({"min_id": min_id})
        statuses = last = await self._page({})
        for _ in range(_FIRST_PAGES):
            oldest = status_id_of(last[0]) if len(last) >= PAGE_LIMIT else ""
            at = listed_at(oldest, time.time_ns() // 1_000_000)
            if at is None or self._wanted_since is None or at < self._wanted_since:
                break
            last = await self._page({"max_id": oldest})
            statuses = last + statuses
        return statuses

    async def newest(self, after: str, pages: int) -> list[bytes]:
        """Return the newest statuses, oldest first, that are later than the id `after`.

        Reads that many pages at most. Raises the same errors as `page`.
        """
        statuses = last = await self._page({})
        for _ in range(pages - 1):
            oldest = status_id_of(last[0]) if len(last) >= PAGE_LIMIT else ""
            if not oldest or later(oldest, after) == after:
                break
            last = await self._page({"max_id": oldest})
            statuses = last + statuses
        return [status for status in statuses if later(status_id_of(status), after) != after]

    async def _page(self, bound: Mapping[str, str]) -> list[bytes]:
        params = {**self._params, **bound}
        while True:
            while (delay := self._budget.delay()) > 0:
                if self._on_429 is not None and (wait := self._budget.refused_for()) > 0:
                    self._on_429(wait)
                await asyncio.sleep(delay)
            async with self._budget.turn:
                if self._budget.delay() > 0:
                    continue  # Another feed of this host has just been read.
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
                raise Unreachable(f"the timeline is not a page of statuses: {error}") from None

    async def check(self) -> None:
        """Request the newest page at once and drop it.

        Raises the same errors as `page`, and Refused for a 429 too.
        """
        await self._get(self._params)

    async def _get(self, params: Mapping[str, str]) -> bytes:
        body, headers = await self._connections.get(self._url, params, self._token)
        self._budget.observe(200, headers)
        self._on_headers(headers)
        max_ages = _MAX_AGE.findall(headers.get("Cache-Control", ""))
        self.cached_seconds = min(max(map(float, max_ages), default=0.0), _MAX_CACHE_SECONDS)
        return body
