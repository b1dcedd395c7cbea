"""Reading a server's public timeline forward, page by page.

`min_id` pages forward from an id to the newest and leaves no hole (`since_id` would return the
newest page only). Ids are opaque; among one server's, the longer is the later, then the greater.
See: https://docs.joinmastodon.org/methods/timelines/#public
"""

from threading import Event

import requests
import urllib3

from mastodon_pipeline.listening.rate_budget import RateBudget
from mastodon_pipeline.listening.server_session import (
    REQUEST_TIMEOUT,
    Refused,
    ServerSession,
    Unreachable,
)
from mastodon_pipeline.listening.statuses import UndecodableStatus, decode_page
from mastodon_pipeline.settings import Server

PAGE_LIMIT = 40
"""Statuses a page, Mastodon's maximum."""
BEFORE_EVERYTHING = "0"
"""An id before all others: where an empty timeline is read on from."""
_MAX_PAGE_BYTES = 16 * 1024 * 1024


def later(one: str, other: str) -> str:
    """The later of two ids of one server; '' is before all."""
    return max(one, other, key=lambda status_id: (len(status_id), status_id))


class TimelineReader:
    """One server's public timeline, asked no more often than the server likes."""

    def __init__(
        self,
        server: Server,
        token: str | None,
        session: ServerSession,
        budget: RateBudget,
        stop: Event,
    ) -> None:
        self._url = f"{server.base_url}/api/v1/timelines/public"
        self._params = {"limit": str(PAGE_LIMIT)}
        if server.feed != "public":
            self._params[server.feed] = "true"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._session = session
        self._stop = stop
        self._budget = budget

    def page(self, min_id: str | None) -> list[bytes]:
        """The statuses right after `min_id` (the newest ones where None), oldest first, raw JSON.

        Waits for the rate budget, a 429 included; returns nothing once `stop` is set.
        Raises Refused for other HTTP errors, Unreachable, UnsafeAddress, CrossHostRedirect.
        """
        params = self._params | ({"min_id": min_id} if min_id is not None else {})
        while not self._stop.wait(self._budget.delay()):
            try:
                body = self._get(params)
            except Refused as refused:
                self._budget.observe(refused.status, refused.headers)
                if refused.status == 429:
                    continue
                raise
            try:
                return decode_page(body)[::-1]
            except UndecodableStatus as error:
                raise Unreachable(f"the timeline is no page of statuses: {error}") from None
        return []

    def knock(self) -> None:
        """Asks for the newest page at once and drops it.

        Raises as `page` does, and Refused for a 429 too.
        """
        self._get(self._params)

    def _get(self, params: dict[str, str]) -> bytes:
        try:
            with self._session.get(
                self._url,
                params=params,
                headers=self._headers,
                timeout=REQUEST_TIMEOUT,
                stream=True,
            ) as response:
                body: bytes = response.raw.read(_MAX_PAGE_BYTES + 1, decode_content=True)
                self._budget.observe(response.status_code, response.headers)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise Unreachable(f"{type(error).__name__}: {error}") from None
        if len(body) > _MAX_PAGE_BYTES:
            raise Unreachable(f"a timeline page is larger than {_MAX_PAGE_BYTES} bytes")
        return body
