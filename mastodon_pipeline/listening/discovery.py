"""What a server says of itself, and the way it will therefore be listened to.

See: https://docs.joinmastodon.org/entities/Instance/ (`configuration.timelines_access` since 4.5)
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from mastodon import (
    Mastodon,
    MastodonAPIError,
    MastodonError,
    MastodonNotFoundError,
    MastodonRatelimitError,
)

from mastodon_pipeline.listening.network_reasons import network_reason
from mastodon_pipeline.listening.server_session import (
    REQUEST_TIMEOUT,
    CrossHostRedirect,
    Refused,
    ServerSession,
    Unreachable,
    UnsafeAddress,
)
from mastodon_pipeline.settings import Feed, Server

Access = Literal["public", "authenticated", "disabled"]
STREAM_REFUSALS = frozenset({401, 403, 404, 405, 410, 422, 501})
"""HTTP answers to a stream that trying again will not change."""
PARKING_REFUSALS = frozenset({401, 403, 404, 410, 422})
"""The same for a timeline: the server is parked, and looked at again an hour later."""


@dataclass(frozen=True, slots=True)
class Discovered:
    """A server's own account of itself."""

    domain: str
    """The domain in its accounts' addresses."""
    version: str
    local_access: Access
    """Who may read the feed of its own accounts' toots."""
    remote_access: Access


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is listened to, and why."""

    kind: Literal["stream", "poll", "park"]
    reason: str
    with_token: bool = False


def mastodon_client(server: Server, token: str | None, session: ServerSession) -> Mastodon:
    """Mastodon.py for one server, through our session; it never sleeps or checks versions."""
    return Mastodon(
        api_base_url=server.base_url,
        access_token=token,
        session=session,
        request_timeout=REQUEST_TIMEOUT,
        ratelimit_method="throw",
        version_check_mode="none",
        user_agent=str(session.headers["User-Agent"]),
    )


def discover(server: Server, client: Mastodon) -> Discovered:
    """Asks the server who it is.

    Raises Refused for an HTTP error, Unreachable, UnsafeAddress, CrossHostRedirect.
    """
    with asking(server, client):
        try:
            answer: Mapping[str, Any] = client.instance_v2()
        except MastodonNotFoundError:
            answer = client.instance_v1()  # Before Mastodon 4.0, and Pleroma: `uri` for `domain`.
    feeds = _path(answer, "configuration", "timelines_access", "live_feeds")
    host = urlsplit(server.base_url).hostname or server.name
    named = answer.get("domain") or answer.get("uri")
    return Discovered(
        domain=str(named or host).split("://")[-1].rstrip("/").lower(),
        version=str(answer.get("version") or ""),
        local_access=_access(feeds.get("local")),
        remote_access=_access(feeds.get("remote")),
    )


@contextmanager
def asking(server: Server, client: Mastodon) -> Iterator[None]:
    """Around a question to the server: Mastodon.py's errors become this stage's.

    Raises Refused for an HTTP error, Unreachable, UnsafeAddress, CrossHostRedirect.
    """
    try:
        yield
    except MastodonRatelimitError:
        wait = max((client.ratelimit_reset or 0.0) - time.time(), 1.0)
        raise Refused(429, "Too Many Requests", {"Retry-After": str(int(wait))}) from None
    except MastodonAPIError as error:
        status = error.args[1] if len(error.args) > 1 else None
        if isinstance(status, int):
            raise Refused(status, str(error.args[2])) from None
        raise Unreachable(f"{server.name} does not speak Mastodon's API") from None
    except MastodonError as error:
        if isinstance(error.__context__, UnsafeAddress | CrossHostRedirect):
            raise error.__context__ from None
        raise Unreachable(network_reason(error)) from None


def choose_way(
    server: Server, found: Discovered, has_token: bool, stream_refusal: Refused | None = None
) -> Way:
    """Streaming where there is a token and the server lets it, else polling, else parked.

    `stream_refusal`: how the server has just answered to an attempt to stream.
    """
    access = _feed_access(server.feed, found)
    if access == "disabled":
        return Way("park", f"the server has switched its {server.feed} feed off")
    if has_token and stream_refusal is None:
        return Way("stream", "there is a token", with_token=True)
    if has_token and stream_refusal is not None and stream_refusal.status not in (401, 403):
        return Way("poll", f"it offers no stream ({stream_refusal})", with_token=True)
    if access == "public":
        why = f"it refused the token ({stream_refusal})" if stream_refusal else "there is no token"
        return Way("poll", why)
    if stream_refusal:
        return Way("park", f"it refused the token in {server.token_env} ({stream_refusal})")
    return Way(
        "park",
        f"its {server.feed} feed needs a token: set {server.token_env}, or run "
        f"mastodon-pipeline login {server.base_url}",
    )


def refusal_reason(server: Server, refused: Refused, has_token: bool) -> str:
    """What a person should read of an HTTP error: the answer, and the token where it may be it."""
    doubt = f"; is the token in {server.token_env} still valid?"
    return f"the server answers {refused}{doubt if has_token and refused.status == 401 else ''}"


def _feed_access(feed: Feed, found: Discovered) -> Access:
    if feed == "local":
        return found.local_access
    if feed == "remote":
        return found.remote_access
    both = {found.local_access, found.remote_access}
    return next(level for level in ("disabled", "authenticated", "public") if level in both)


def _access(value: object) -> Access:
    # Servers before 4.5 and other software do not say: then only trying tells.
    if value == "authenticated":
        return "authenticated"
    return "disabled" if value == "disabled" else "public"


def _path(answer: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    here: Any = answer
    for name in names:
        here = here.get(name) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}
