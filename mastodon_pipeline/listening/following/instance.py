"""What a server says about itself: its instance entity, fetched by Mastodon.py.

Mastodon.py casts every field of the response, 3 ms of CPU per server: so the info is fetched in
threads, saved beside the positions across restarts, and fetched again about once an hour, after a
refusal, and soon after a start.

See: https://docs.joinmastodon.org/entities/Instance/ (`configuration.timelines_access` since 4.5)
"""

import asyncio
import math
import random
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from mastodon import Mastodon

from mastodon_pipeline.errors import (
    ApiElsewhere,
    CrossHostRedirect,
    NoMastodonApi,
    Refused,
    RefusedByRobots,
    ServerError,
    Unreachable,
)
from mastodon_pipeline.foreign_text import clean_line
from mastodon_pipeline.listening.client.addresses import in_daemon_thread
from mastodon_pipeline.listening.client.api_address import find_api
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, Timings
from mastodon_pipeline.listening.client.rate_budget import RateBudgets
from mastodon_pipeline.listening.client.robots import API_PATHS, WELL_KNOWN_PATHS, read_rules
from mastodon_pipeline.listening.client.session import (
    ServerSession,
    mastodon_client,
    translated_errors,
)
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.servers import Server
from mastodon_pipeline.settings import Settings

Access = Literal["public", "authenticated", "disabled"]
TOKEN_REFUSALS = frozenset({401, 403})
"""HTTP errors that may be the token's fault: without it the server may answer."""
_FINAL_REFUSALS = frozenset({410, 429})
"""HTTP errors of the self-description after which nothing else is asked for."""
_NO_OLDER_API = frozenset({401, 403, 410, 429})
"""HTTP errors that the older API will answer with, too."""
_NO_API = frozenset({400, 404, 405, 406})
"""HTTP errors of a host without Mastodon's API; it may be the domain of a server elsewhere."""
_SOON_SECONDS = 60.0
_MAX_VERSION_CHARACTERS = 100
_MAX_URL_CHARACTERS = 500
_DOMAIN = re.compile(r"(?=.{1,255}\Z)[\w.-]+(?::[0-9]{1,5})?")
"""Letters of any script: domains may be internationalized."""
_GOTOSOCIAL_VERSION = re.compile(r"0\.[0-9]+\.[0-9]+\S{0,20}\+git-")
_CONCURRENT_FETCHES = 48


@dataclass(frozen=True, slots=True)
class InstanceInfo:
    """What a server says about itself."""

    domain: str
    """The domain in its accounts' addresses."""
    version: str
    local_access: Access
    """Who may read the feed of its own accounts' toots."""
    remote_access: Access
    streaming_url: str = ""
    """Where its streams are, without the path: `https://streaming.mastodon.social`.

    '' if it does not say: then at the base URL.
    """
    noindex_by_default: bool = False
    """It is GoToSocial, which sends `noindex` of whoever has not opted in to search."""


@dataclass(frozen=True, slots=True)
class InstanceAnswer:
    """A server's instance info, and how the server reacted to our token."""

    info: InstanceInfo
    token: str | None = field(repr=False)
    token_refusal: Refused | None = None
    """Set if the server refused the request with the token, and answered it without."""
    failure: str = ""
    """Why the server did not describe itself: then `info` is an assumption. '' if it did."""
    fetched_at: float = field(default_factory=time.monotonic)
    """Monotonic seconds."""
    valid_until: float = math.inf
    """Monotonic seconds; from then on it is to be fetched again."""


def saved_answer(info: InstanceInfo, token: str | None) -> InstanceAnswer:
    """Turn the info that an earlier listener saved into an answer, to be fetched again soon."""
    soon = time.monotonic() + random.uniform(0.1, 1.0) * _SOON_SECONDS
    return InstanceAnswer(info, token, fetched_at=-math.inf, valid_until=soon)


class InstanceProbe:
    """Fetches the instance info of servers, a few dozen at a time."""

    def __init__(
        self, settings: Settings, budgets: RateBudgets, timings: Timings = DEFAULT_TIMINGS
    ) -> None:
        self._timings = timings
        self._settings = settings
        self._budgets = budgets
        self._concurrent = asyncio.Semaphore(_CONCURRENT_FETCHES)

    async def fetch(self, server: Server, token: str | None) -> InstanceAnswer:
        """Fetch a server's instance info with this token, and without it if it is refused.

        A server that does not describe itself may have a timeline all the same: its answer has the
        failure, and info that assumes open feeds.

        Raises:
            Refused: it wants a pause, or has been retired.
            UnsafeAddress, CrossHostRedirect: as `translated_errors` does.
        """
        async with self._concurrent:
            try:
                # The session's own deadline ends the thread; this one also bounds name servers.
                async with asyncio.timeout(3 * self._timings.request_seconds):
                    info, refusal = await in_daemon_thread(lambda: self._fetch(server, token))
            except Refused as refused:
                budget = self._budgets.for_host(server.base_url)
                budget.observe_refusal(refused.status, refused.headers)
                if refused.status in _FINAL_REFUSALS or budget.refused_for() > 0:
                    raise
                return self._assumed(server, token, f"the server answers {refused}")
            except Unreachable as error:
                return self._assumed(server, token, str(error))
            except TimeoutError:
                return self._assumed(server, token, "timed out")
        max_age = self._timings.info_max_age_seconds * random.uniform(0.75, 1.0)
        return InstanceAnswer(info, token, refusal, valid_until=time.monotonic() + max_age)

    def _assumed(self, server: Server, token: str | None, failure: str) -> InstanceAnswer:
        valid_until = time.monotonic() + self._timings.fresh_seconds
        info = InstanceInfo(_own_domain(server), "", "public", "public")
        return InstanceAnswer(info, token, failure=failure, valid_until=valid_until)

    def _fetch(self, server: Server, token: str | None) -> tuple[InstanceInfo, Refused | None]:
        timeout = self._timings.request_seconds
        with ServerSession(
            self._settings.user_agent,
            self._settings.mastodon_allow_private_addresses,
            seconds=3 * timeout,
            traffic=self._budgets.for_host(server.base_url).traffic,
        ) as session:
            try:
                client = mastodon_client(server, token, session, timeout)
                return fetch_instance_info(server, client), None
            except (NoMastodonApi, CrossHostRedirect):
                self._check_elsewhere(server, session)
                raise
            except Refused as refused:
                if refused.status in _NO_API:
                    self._check_elsewhere(server, session)
                if token is None or refused.status not in TOKEN_REFUSALS:
                    raise
                client = mastodon_client(server, None, session, timeout)
                info = fetch_instance_info(server, client)
                # Not the exception itself: its traceback would keep the connection alive.
                return info, Refused(refused.status, refused.reason)

    def _check_elsewhere(self, server: Server, session: ServerSession) -> None:
        """Raise ApiElsewhere if the server's host says that its accounts' API is elsewhere."""
        timeout = self._timings.request_seconds
        other = api_elsewhere(server, session, timeout)
        if other is not None:
            raise ApiElsewhere(elsewhere_reason(server, other))


def api_elsewhere(server: Server, session: ServerSession, timeout_seconds: float) -> Server | None:
    """Return the server with the API of the accounts at this server's host, if that is another.

    None as well if the robots.txt of one of them refuses the question.
    """
    try:
        if read_rules(server.base_url, session, timeout_seconds).refusal(WELL_KNOWN_PATHS):
            return None
    except ServerError:
        return None

    def described_domain(candidate: Server) -> str:
        if refusal := read_rules(candidate.base_url, session, timeout_seconds).refusal(API_PATHS):
            raise RefusedByRobots(refusal)
        client = mastodon_client(candidate, None, session, timeout_seconds)
        return fetch_instance_info(candidate, client).domain

    return find_api(server, session, timeout_seconds, described_domain)


def elsewhere_reason(server: Server, other: Server) -> str:
    """Tell a person which address to use."""
    return f"{server.name} has no API; that of its accounts is at {other.base_url}: name that one"


def fetch_instance_info(server: Server, client: Mastodon) -> InstanceInfo:
    """Fetch the server's instance entity, by the older API if the newer one does not work.

    Servers before Mastodon 4.0, and Pleroma, have only the older one. Raises as `translated_errors`
    does.
    """
    try:
        return _described(server, client, client.instance_v2)
    except Refused as refused:
        if refused.status in _NO_OLDER_API:
            raise
        failure: ServerError = refused
    except NoMastodonApi as error:
        failure = error
    try:
        return _described(server, client, client.instance_v1)
    except ServerError:
        raise failure from None


def _described(
    server: Server, client: Mastodon, fetch: Callable[[], Mapping[str, Any]]
) -> InstanceInfo:
    with translated_errors(server, client):
        entity = fetch()
        if not any(_text(entity.get(name)) for name in ("domain", "uri", "version")):
            raise NoMastodonApi(f"{server.name} does not describe itself")
        return instance_info(server, entity)


def instance_info(server: Server, entity: Mapping[str, Any]) -> InstanceInfo:
    """Return what is used of an instance entity; what makes no sense in it counts as missing."""
    feeds = _object_at(entity, "configuration", "timelines_access", "live_feeds")
    return InstanceInfo(
        # GoToSocial names the domain of its accounts beside its own, if the two differ.
        domain=_domain(entity.get("account_domain"))
        or _domain(entity.get("domain"))
        or _domain(entity.get("uri"))
        or _own_domain(server),
        version=clean_line(_text(entity.get("version")), _MAX_VERSION_CHARACTERS),
        local_access=_access(feeds.get("local")),
        remote_access=_access(feeds.get("remote")),
        streaming_url=streaming_url(entity),
        noindex_by_default=_is_gotosocial(entity),
    )


def streaming_url(entity: Mapping[str, Any]) -> str:
    """Return the streaming URL in an instance entity, as http(s); '' if there is no usable one."""
    url = _object_at(entity, "configuration", "urls").get("streaming")
    url = _text(url or _object_at(entity, "urls").get("streaming_api"))  # instance_v1
    if clean_line(url, _MAX_URL_CHARACTERS) != url:
        return ""
    try:
        parts = urlsplit(url)
        _ = parts.port  # Checked on access.
    except ValueError:
        return ""
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    if scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        return ""
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _domain(value: object) -> str:
    """Return a domain as an instance entity names it, or ''; Pleroma's `uri` is an address."""
    domain = _text(value).split("://")[-1].rstrip("/")
    return server_name(domain) if _DOMAIN.fullmatch(domain) else ""


def _is_gotosocial(entity: Mapping[str, Any]) -> bool:
    version = _text(entity.get("version"))
    named = f"{_text(entity.get('source_url'))[:_MAX_URL_CHARACTERS]} {version[:100]}".lower()
    # Its `instance_v1` has no source_url; the version is like 0.20.2+git-1234567.
    return "gotosocial" in named or _GOTOSOCIAL_VERSION.match(version) is not None


def _own_domain(server: Server) -> str:
    return urlsplit(server.base_url).hostname or server.name


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _access(value: object) -> Access:
    # Servers before 4.5 and other software do not say: only a request shows.
    if value == "authenticated":
        return "authenticated"
    return "disabled" if value == "disabled" else "public"


def _object_at(entity: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    value: Any = entity
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value if isinstance(value, Mapping) else {}
