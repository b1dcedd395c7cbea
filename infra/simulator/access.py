"""Authentication of a request to a simulated server, and the feeds that it may read.

See: Mastodon's `Api::V1::Timelines::PublicController`, `authorize_if_got_token!`.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from infra.simulator.instance import ServerPolicy
from infra.simulator.server import Tokens

_FALSE = {"", "0", "f", "F", "false", "FALSE", "off", "OFF"}  # Rails' boolean cast


class ApiError(Exception):
    """Answers a request with an HTTP status, `{"error": message}` and headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Client:
    """Who sent a request: a user, an application, or neither."""

    user: bool
    token: str | None


def request_token(request: web.Request) -> str:
    """Return the token of a request, or '': from a header, or as browsers have to send it."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    protocol = request.headers.get("Sec-WebSocket-Protocol", "").strip()
    return bearer or request.query.get("access_token", "") or protocol


def authenticate(request: web.Request, tokens: Tokens) -> Client:
    """Return who sent the request; raises ApiError 401 for an unknown token."""
    token = request_token(request)
    if token and tokens.user and secrets.compare_digest(token.encode(), tokens.user.encode()):
        return Client(True, token)
    if token and token not in tokens.apps:
        raise ApiError(401, "The access token is invalid")
    return Client(False, token or None)


def readable_feeds(
    policy: ServerPolicy, query: Mapping[str, str], client: Client
) -> tuple[bool, bool]:
    """Return whether the answer includes the local and the remote feed: (local, remote).

    Without `local` or `remote` both feeds must be public to be read anonymously. A disabled feed
    is empty for a user, and refused to others. Raises ApiError.
    """
    only_local, only_remote = is_true(query.get("local")), is_true(query.get("remote"))
    if policy.closed and not client.user:
        raise ApiError(401, "This API requires an authenticated user")
    if only_local:
        requested = [policy.local_feed]
    elif only_remote:
        requested = [policy.remote_feed]
    else:
        requested = [policy.local_feed, policy.remote_feed]
    if not client.user and any(access != "public" for access in requested):
        raise ApiError(422, "This method requires an authenticated user")
    local = not only_remote or only_local
    remote = not only_local or only_remote
    if only_local and only_remote:
        local = remote = False  # both scopes at once: no toot is both local and remote
    return local and policy.local_feed != "disabled", remote and policy.remote_feed != "disabled"


def is_true(value: str | None) -> bool:
    """Cast a query parameter to a boolean as Rails does."""
    return value is not None and value not in _FALSE
