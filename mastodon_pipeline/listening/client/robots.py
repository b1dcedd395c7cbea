"""Whether a host's robots.txt lets us ask for what we ask for.

Read before anything else of a host, at most once a day, and as RFC 9309 has it: an answer of 4xx,
such as none at all, allows everything; one of 5xx, or none that can be read, refuses everything
until it can be read, unless an earlier file is known. The group that names `mastodon-pipeline`
counts, else the one for everybody (`*`). Of a file the first 512 KiB are read. Up to five redirects
are followed, to other hosts as well, each checked like any address.

A person who logs in, or runs `doctor`, is no robot: those requests do not depend on it.

See: https://www.rfc-editor.org/rfc/rfc9309
"""

import asyncio
import re
import time
from collections.abc import Iterable, Iterator
from urllib.parse import urljoin, urlsplit

import msgspec
import requests
from protego import Protego

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    Refused,
    RobotsUnreadable,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.listening.client.addresses import in_daemon_thread
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Timings
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import ServerSession
from mastodon_pipeline.settings import PRODUCT, Settings

MAX_PARSED_BYTES = 512 * 1024
"""RFC 9309 asks for 500 KiB at least."""
MAX_AGE_SECONDS = 86_400.0
REFUSED_MAX_AGE_SECONDS = 3600.0
"""So that an admin who lets us in again does not wait for a day."""
MAX_CRAWL_DELAY_SECONDS = 3600.0
API_PATHS = ("/api/v2/instance", "/api/v1/instance", "/api/v1/timelines/public")
"""What is asked of every server that is followed."""
ACTIVITY_PATH = "/api/v1/instance/activity"
WELL_KNOWN_PATHS = ("/.well-known/host-meta", "/.well-known/nodeinfo", "/.well-known/webfinger")
STREAMING_PATHS = (
    "/api/v1/streaming",
    "/api/v1/streaming/public",
    "/api/v1/streaming/public/local",
    "/api/v1/streaming/public/remote",
)
_QUERIES = {
    "/api/v1/timelines/public": "?limit=40&local=true",
    "/api/v1/streaming": "?stream=public:local",
    "/.well-known/webfinger": "?resource=acct:a@b.example",
}
"""What follows a path, for rules that concern that."""
_ASKED = (*API_PATHS, ACTIVITY_PATH, *WELL_KNOWN_PATHS, *STREAMING_PATHS)
_MAX_REDIRECTS = 5
_CONCURRENT_READS = 48
_USER_AGENT = re.compile(r"\s*user-?\s?agent\s*:\s*(\*|[A-Za-z_-]*)", re.IGNORECASE)
_OTHERS = "User-agent: another"
_OWN_NAMES = frozenset({PRODUCT, PRODUCT.replace("-", "_")})


class HostRules(msgspec.Struct, frozen=True):
    """What a host's robots.txt says about our requests."""

    base_url: str
    read_at_ms: int
    """UTC milliseconds."""
    refused: tuple[str, ...] = ()
    """Those of the paths that we ask for which it refuses."""
    crawl_delay_seconds: float = 0.0
    """The pause between two requests that it asks for (an extension, `Crawl-delay`)."""

    @property
    def expired(self) -> bool:
        """Whether it is to be read again."""
        max_age = REFUSED_MAX_AGE_SECONDS if self.refused else MAX_AGE_SECONDS
        return not 0 <= time.time() - self.read_at_ms / 1000 < max_age

    def refusal(self, paths: Iterable[str]) -> str:
        """Return why these paths must not be asked for, and what to do; '' if they may be."""
        path = next((path for path in paths if path in self.refused), None)
        if path is None:
            return ""
        return (
            f"the robots.txt of {urlsplit(self.base_url).netloc} asks us not to read {path}: take"
            f" the server off your list, or ask its admin to allow the User-agent {PRODUCT} there"
        )


def read_rules(base_url: str, session: ServerSession, timeout_seconds: float) -> HostRules:
    """Read the robots.txt of the host at `base_url`.

    Raises:
        RobotsUnreadable: it cannot be read, which refuses everything for now.
        Refused: with 429: we ask too often.
        UnsafeAddress: the host is not public.
    """
    nothing = HostRules(base_url, time.time_ns() // 1_000_000)
    url = f"{base_url}/robots.txt"
    for redirects in range(_MAX_REDIRECTS + 1):
        try:
            response = session.get(
                url,
                timeout=timeout_seconds,
                allow_redirects=False,
                headers={"Accept": "text/plain, */*;q=0.1"},
            )
        except CrossHostRedirect as redirect:
            if not redirect.target:
                return nothing
            url = urljoin(url, redirect.target)
            continue
        except UnsafeAddress:
            if redirects:
                return nothing
            raise
        except Unreachable as error:
            raise RobotsUnreadable(f"{error} (reading its robots.txt)") from None
        except (requests.RequestException, OSError, ValueError) as error:
            reason = network_reason(error)
            raise RobotsUnreadable(f"{reason} (reading its robots.txt)") from None
        if response.is_redirect:
            url = urljoin(url, response.headers["Location"])
            continue
        if response.status_code == 429:
            raise Refused(429, response.reason or "Too Many Requests", session.response_headers)
        if response.status_code >= 500:
            raise RobotsUnreadable(
                f"the server answers {response.status_code} {response.reason} for its robots.txt,"
                " which means to stay away for now (RFC 9309)"
            )
        return rules_of(response.content, base_url) if response.ok else nothing
    return nothing


def rules_of(content: bytes, base_url: str) -> HostRules:
    """Return what the content of a robots.txt says about our requests."""
    text = content[:MAX_PARSED_BYTES].decode("utf-8-sig", "replace")
    robots = Protego.parse("\n".join(_ours(text)))

    def refuses(path: str) -> bool:
        urls = (f"{base_url}{path}", f"{base_url}{path}{_QUERIES.get(path, '')}")
        return not all(robots.can_fetch(url, PRODUCT) for url in urls)

    return HostRules(
        base_url,
        time.time_ns() // 1_000_000,
        tuple(filter(refuses, _ASKED)),
        min(robots.crawl_delay(PRODUCT) or 0.0, MAX_CRAWL_DELAY_SECONDS),
    )


def _ours(text: str) -> Iterator[str]:
    """Yield the lines, with one name for all robots but us.

    Protego takes `User-agent: mastodon` for us, too, and needs the square of the time for a file
    that names thousands of robots before thousands of rules.
    """
    previous = ""
    for line in text.splitlines():
        name = _USER_AGENT.match(line)
        if name is None:
            previous = ""
            yield line
            continue
        token = name[1].lower()
        named = PRODUCT if token in _OWN_NAMES else token if token == "*" else ""
        line = f"User-agent: {named}" if named else _OTHERS
        if line != previous:
            yield line
        previous = line


class RobotsFiles:
    """The robots.txt of all hosts of a listener, each read once a day. For one event loop."""

    def __init__(
        self, settings: Settings, budgets: RateBudgets, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self._settings = settings
        self._budgets = budgets
        self._timings = timings
        self._known: dict[str, HostRules] = {}
        self._retry_at: dict[str, float] = {}
        """When an unreadable file of which an earlier version is known is tried again."""
        self._reading: dict[str, asyncio.Lock] = {}
        self._concurrent = asyncio.Semaphore(_CONCURRENT_READS)

    def remember(self, rules: HostRules) -> None:
        """Take note of what an earlier listener read."""
        known = self._known.get(rules.base_url)
        if known is None or known.read_at_ms < rules.read_at_ms:
            self._known[rules.base_url] = rules
            self._apply(rules)

    def known(self, base_url: str) -> HostRules | None:
        """Return what was read last of a host, or None."""
        return self._known.get(base_url)

    async def rules(self, base_url: str) -> HostRules:
        """Return a host's rules, read if they are not known or too old.

        Raises as `read_rules` does; if earlier rules are known, they count as long as the file
        cannot be read.
        """
        async with self._reading.setdefault(base_url, asyncio.Lock()):
            known = self._known.get(base_url)
            if known is not None and not known.expired:
                return known
            if known is not None and time.monotonic() < self._retry_at.get(base_url, 0.0):
                return known
            try:
                rules = await self._read(base_url)
            except RobotsUnreadable:
                if known is None:
                    raise
                self._retry_at[base_url] = time.monotonic() + self._timings.fresh_seconds
                return known
            except Refused as refused:
                budget = self._budgets.for_host(base_url)
                budget.observe_refusal(refused.status, refused.headers)
                raise
            self._known[base_url] = rules
            self._apply(rules)
            return rules

    def _apply(self, rules: HostRules) -> None:
        budget = self._budgets.for_host(rules.base_url)
        budget.crawl_delay_seconds = rules.crawl_delay_seconds

    async def _read(self, base_url: str) -> HostRules:
        timeout = self._timings.request_seconds

        def read() -> HostRules:
            with ServerSession(
                self._settings.user_agent,
                self._settings.mastodon_allow_private_addresses,
                seconds=3 * timeout,
                traffic=self._budgets.for_host(base_url).traffic,
            ) as session:
                return read_rules(base_url, session, timeout)

        async with self._concurrent:
            try:
                # The session's own deadline ends the thread; this one also bounds name servers.
                async with asyncio.timeout(3 * timeout):
                    return await in_daemon_thread(read)
            except TimeoutError:
                raise RobotsUnreadable("timed out (reading its robots.txt)") from None
