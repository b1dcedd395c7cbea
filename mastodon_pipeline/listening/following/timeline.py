"""Reading a server's public timeline forward, page by page.

`min_id` pages forward from an id to the newest without leaving a hole (`since_id` returns the
newest page only). Not every server heeds it: some return their newest page whatever is asked for,
or take it for a `since_id`. That is noticed, and such a server is read backward, by `max_id`, from
the newest page to the id. Nor does every server return as many statuses as are asked for: a page
as large as the largest one so far may have more behind it.
See: https://docs.joinmastodon.org/methods/timelines/#public
"""

import asyncio
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mastodon_pipeline.errors import Refused, UndecodableStatus, Unreachable
from mastodon_pipeline.listening.client.connections import Connections
from mastodon_pipeline.listening.client.rate_budget import RateBudget
from mastodon_pipeline.listening.protocol.ids import later, listed_at
from mastodon_pipeline.listening.protocol.statuses import decode_page, status_id_of
from mastodon_pipeline.servers import Feed

PAGE_LIMIT = 40
"""Statuses per page, Mastodon's maximum."""
_SMALLEST_FULL_PAGE = 5
"""A page with fewer is the end of the timeline: no server has pages that small."""
_LISTED_MEANWHILE = 3
"""Statuses that a server may list below a page, dated back, while the page is verified."""
NEWEST_PAGE_ONLY = "its timeline shows its newest page, whatever page is asked for"
BEFORE_EVERYTHING = "0"
"""An id before all others: where reading an empty timeline continues."""
_PAGES_BACK = 50
"""How many pages are read backward, at most."""
_MAX_CACHE_SECONDS = 300.0
_MAX_AGE = re.compile(r"\b(?:s-)?max-?age\s*=\s*\"?(\d{1,6})", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Page:
    """Statuses of a timeline, oldest first, as raw JSON."""

    statuses: list[bytes]
    more: bool = False
    """Whether more may follow right after them."""
    hole_before: str = ""
    """The id of the first status, if not all that precedes it could be read."""


@dataclass(slots=True)
class Paging:
    """What one server has shown of how it pages its timeline."""

    forward: bool | None = None
    """Whether it heeds `min_id`; None until that is known."""
    largest: int = 0
    """Statuses of its largest page."""

    def is_full(self, page: list[bytes]) -> bool:
        """Return whether there may be more than this page, which the server has just returned."""
        self.largest = max(self.largest, len(page))
        return len(page) >= max(_SMALLEST_FULL_PAGE, min(self.largest, PAGE_LIMIT))


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
        paging: Paging | None = None,
    ) -> None:
        """`wanted_since`: since when the feed is wanted, UTC milliseconds; None: since now.

        `on_429` is called with the seconds that a 429 makes us wait, `on_headers` with the
        headers of each page. `paging`: what earlier readers of this server have learned.
        """
        self._paging = paging or Paging()
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

    @property
    def note(self) -> str:
        """What is unusual about the server's timeline, for people; '' if nothing is known."""
        return NEWEST_PAGE_ONLY if self._paging.forward is False else ""

    async def page(self, min_id: str | None) -> Page:
        """Return the statuses right after `min_id`.

        Without `min_id`: the newest page, and further pages back to when the feed was first
        wanted, since the first read may be late. If the ids contain no time it is one page, and
        the rest is lost. Waits for the rate budget, and after a 429.

        Raises Refused for other HTTP errors, and Unreachable, UnsafeAddress, CrossHostRedirect as
        `Connections.get` does.
        """
        if min_id is None:
            page = await self._page({})
            statuses, complete = await self._back(page, _PAGES_BACK, self._precedes_us)
            return Page(statuses, hole_before="" if complete else _oldest_id(statuses))
        forward = self._paging.forward
        page = await self._page({} if forward is False else {"min_id": min_id})
        full = self._paging.is_full(page)
        if _is_before(_oldest_id(page), min_id):
            self._paging.forward = forward = False
        elif forward or (forward is None and not full):
            return Page(page, more=full)

        # Now and then only: the first full page shows whether what precedes it is older.
        def far_enough(status_id: str) -> bool:
            return _is_before(status_id, min_id)

        statuses, complete = await self._back(page, _PAGES_BACK, far_enough)
        statuses = _after(statuses, min_id)
        if forward is None:
            skipped = len(statuses) - len(page)
            if complete and skipped <= _LISTED_MEANWHILE:
                self._paging.forward = None if skipped else True
                return Page(statuses, more=True)
            self._paging.forward = False
        return Page(statuses, hole_before="" if complete else _oldest_id(statuses))

    async def newest(self, after: str, pages: int) -> list[bytes]:
        """Return the newest statuses, oldest first, that are later than the id `after`.

        Reads that many pages at most. Raises the same errors as `page`.
        """
        page = await self._page({})
        statuses, _ = await self._back(page, pages - 1, lambda id_: _is_before(id_, after))
        return [status for status in _after(statuses, after) if status_id_of(status)]

    async def before(self, max_id: str) -> list[bytes]:
        """Return the statuses right before the id, oldest first; the newest ones for ''.

        None of them means that the timeline begins here. Raises the same errors as `page`, and
        Unreachable if the server returns other pages than are asked for.
        """
        page = await self._page({"max_id": max_id} if max_id else {})
        earlier = [s for s in page if not max_id or _is_before(status_id_of(s), max_id)]
        if page and _oldest_id(earlier) in ("", max_id):
            raise Unreachable(NEWEST_PAGE_ONLY)
        return earlier

    async def _back(
        self, page: list[bytes], pages: int, far_enough: Callable[[str], bool]
    ) -> tuple[list[bytes], bool]:
        """Read backward from the newest page to an id that is far enough, `pages` pages at most.

        Returns the statuses, oldest first, and whether it got so far, or to the timeline's end.
        """
        statuses = last = page
        while self._paging.is_full(last) and (oldest := _oldest_id(last)):
            if far_enough(oldest):
                break
            if pages <= 0:
                return statuses, False
            pages -= 1
            last = await self._page({"max_id": oldest})
            earlier = [status for status in last if _is_before(status_id_of(status), oldest)]
            if last and _oldest_id(earlier) in ("", oldest):
                return statuses, False  # It ignores max_id, too.
            statuses = earlier + statuses
        return statuses, True

    def _precedes_us(self, status_id: str) -> bool:
        """Return whether a status was listed before the feed was wanted, or may have been."""
        at = listed_at(status_id, time.time_ns() // 1_000_000)
        return at is None or self._wanted_since is None or at < self._wanted_since

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
            return _decoded(body)

    async def check(self) -> list[bytes]:
        """Return the newest page, oldest first, requested at once.

        Raises the same errors as `page`, and Refused for a 429 too.
        """
        return _decoded(await self._get(self._params))

    async def _get(self, params: Mapping[str, str]) -> bytes:
        traffic = self._budget.traffic
        try:
            body, headers = await self._connections.get(self._url, params, self._token)
        except Refused as refused:
            traffic.add_response(0, refused.headers)
            raise
        traffic.add_response(len(body), headers)
        self._budget.observe(200, headers)
        self._on_headers(headers)
        max_ages = _MAX_AGE.findall(headers.get("Cache-Control", ""))
        self.cached_seconds = min(max(map(float, max_ages), default=0.0), _MAX_CACHE_SECONDS)
        return body


def _decoded(body: bytes) -> list[bytes]:
    try:
        return decode_page(body)[::-1]
    except UndecodableStatus as error:
        raise Unreachable(f"the timeline is not a page of statuses: {error}") from None


def _oldest_id(page: list[bytes]) -> str:
    return next(filter(None, map(status_id_of, page)), "")


def _is_before(status_id: str, bound: str) -> bool:
    """Return whether an id is known and is not later than the bound."""
    return status_id != "" and later(status_id, bound) == bound


def _after(statuses: list[bytes], bound: str) -> list[bytes]:
    return [status for status in statuses if not _is_before(status_id_of(status), bound)]
