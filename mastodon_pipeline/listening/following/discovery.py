"""What a server says of itself, and the way it will therefore be listened to.

See: https://docs.joinmastodon.org/entities/Instance/ (`configuration.timelines_access` since 4.5)
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from mastodon import (
    Mastodon,
    MastodonAPIError,
    MastodonError,
    MastodonNotFoundError,
    MastodonRatelimitError,
)

from mastodon_pipeline.errors import CrossHostRedirect, Refused, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import REQUEST_TIMEOUT, ServerSession
from mastodon_pipeline.servers import Feed, Server

Access = Literal["public", "authenticated", "disabled"]
STREAM_REFUSALS = frozenset({400, 401, 403, 404, 405, 410, 422, 426, 501})
"""HTTP answers to a stream that trying again will not change."""
PARKING_REFUSALS = frozenset({401, 403, 404, 410, 422})
"""The same for a timeline: the server is parked, and looked at again an hour later."""
TOKEN_REFUSALS = frozenset({401, 403})
NO_EVENT_STREAM = frozenset({400, 404, 405, 426, 501})
"""Answers to server-sent events after which a WebSocket is tried.

GoToSocial answers 404 or 400: its streaming address wants the upgrade to a WebSocket.
"""


@dataclass(frozen=True, slots=True)
class Discovered:
    """A server's own account of itself."""

    domain: str
    """The domain in its accounts' addresses."""
    version: str
    local_access: Access
    """Who may read the feed of its own accounts' toots."""
    remote_access: Access
    streaming_url: str = ""
    """Where its streams are, without a path: `https://streaming.mastodon.social`.

    '' where it does not say: then at the base URL.
    """


@dataclass(frozen=True, slots=True)
class Refusals:
    """How a server has answered to attempts to stream; None where it has not refused."""

    stream: Refused | None = None
    websocket: Refused | None = None
    wider_feed: Refused | None = None
    """How it answered to polling more than its local feed."""


NOTHING_REFUSED = Refusals()


@dataclass(frozen=True, slots=True)
class Way:
    """How a server is listened to, and why."""

    kind: Literal["stream", "websocket", "poll", "park"]
    reason: str
    with_token: bool = False
    streaming_url: str = ""
    """For streams, without a path."""
    feed: Feed = "local"
    """What is asked for: the configured feed, or less where the server gives no more."""


def mastodon_client(
    server: Server, token: str | None, session: ServerSession, timeout: float = REQUEST_TIMEOUT
) -> Mastodon:
    """Mastodon.py for one server, through our session; it never sleeps or checks versions."""
    return Mastodon(
        api_base_url=server.base_url,
        access_token=token,
        session=session,
        request_timeout=timeout,
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
        streaming_url=streaming_url(answer),
    )


@contextmanager
def asking(server: Server, client: Mastodon) -> Iterator[None]:
    """Around a question to the server: Mastodon.py's errors become this stage's.

    Raises Refused for an HTTP error, Unreachable, UnsafeAddress, CrossHostRedirect.
    """
    try:
        yield
    except MastodonRatelimitError:
        headers = getattr(client.session, "answer_headers", {})
        raise Refused(429, "Too Many Requests", headers) from None
    except MastodonAPIError as error:
        status = error.args[1] if len(error.args) > 1 else None
        if isinstance(status, int):
            raise Refused(status, str(error.args[2])) from None
        raise Unreachable(f"{server.name} does not speak Mastodon's API") from None
    except MastodonError as error:
        if isinstance(error.__context__, UnsafeAddress | CrossHostRedirect | Unreachable):
            raise error.__context__ from None
        raise Unreachable(network_reason(error)) from None


def choose_way(
    server: Server, found: Discovered, has_token: bool, refusals: Refusals = NOTHING_REFUSED
) -> Way:
    """Streaming where there is a token and the server lets it, else polling, else parked."""
    access = _feed_access(server.feed, found)
    if access == "disabled":
        return Way("park", f"the server has switched its {server.feed} feed off")
    streaming_url = found.streaming_url or server.base_url
    stream, websocket = refusals.stream, refusals.websocket
    if has_token and stream is None:
        return Way("stream", "there is a token", True, streaming_url, server.feed)
    refused = websocket or stream
    if has_token and refused is not None and refused.status not in TOKEN_REFUSALS:
        if websocket is None and refused.status in NO_EVENT_STREAM:
            why = f"there is a token, and no stream of events ({refused})"
            return Way("websocket", why, True, streaming_url, server.feed)
        return Way("poll", f"it offers no stream ({refused})", True, "", server.feed)
    why = f"it refuses the token ({refused})" if refused else "there is no token"
    if access == "public" and refusals.wider_feed is None:
        return Way("poll", why, feed=server.feed)
    if server.feed == "public" and found.local_access == "public":
        return Way("poll", f"{why}, so that only its own toots are shown to us", feed="local")
    if refused:
        doubt = f"is the token in {server.token_env} still valid?"
        return Way("park", f"it refuses the token ({refused}); {doubt}")
    return Way(
        "park",
        f"its {server.feed} feed needs a token: set {server.token_env}, or run "
        f"mastodon-pipeline login {server.base_url}",
    )


def after_refusal(refusals: Refusals, way: Way, refused: Refused) -> Refusals | None:
    """What to choose the next way by, after a server has refused this one.

    None where there is no other way to be tried: it is down, wants to be left alone, or refuses us.
    """
    # The answer alone is kept: with its traceback it would hold the whole connection.
    refused = Refused(refused.status, refused.reason)
    if way.kind == "stream" and refused.status in STREAM_REFUSALS:
        return replace(refusals, stream=refused)
    if way.kind == "websocket" and refused.status in STREAM_REFUSALS:
        return replace(refusals, websocket=refused)
    wider = way.kind == "poll" and way.feed == "public" and not way.with_token
    if wider and refused.status in PARKING_REFUSALS:
        return replace(refusals, wider_feed=refused)
    return None


def refusal_reason(server: Server, refused: Refused, has_token: bool) -> str:
    """What a person should read of an HTTP error: the answer, and what it may mean."""
    answer = f"the server answers {refused}"
    if refused.status == 410:
        return f"{answer}: it has been retired"
    if refused.status == 401 and has_token:
        return f"{answer}; is the token in {server.token_env} still valid?"
    return answer


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


def streaming_url(answer: Mapping[str, Any]) -> str:
    """Where an instance entity says that its streams are, as https; '' where it does not say."""
    told = _path(answer, "configuration", "urls").get("streaming")
    told = told or _path(answer, "urls").get("streaming_api")  # instance_v1
    try:
        parts = urlsplit(str(told or ""))
        _ = parts.port  # checked on access
    except ValueError:
        return ""
    scheme = {"wss": "https", "ws": "http"}.get(parts.scheme, parts.scheme)
    if scheme not in ("https", "http") or not parts.hostname or "@" in parts.netloc:
        return ""
    return f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _path(answer: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    here: Any = answer
    for name in names:
        here = here.get(name) if isinstance(here, Mapping) else None
    return here if isinstance(here, Mapping) else {}
