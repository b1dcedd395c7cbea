"""Who a request to a simulated server is from, and what they may read.

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
    """An answer with this HTTP status, `{"error": message}` and these headers."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, dict(headers or {})


@dataclass(frozen=True, slots=True)
class Asker:
    """Who a request is from."""

    user: bool
    token: str | None


def given_token(request: web.Request) -> str:
    """The token of a request, '' for none: a header, or as browsers have to send it."""
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    protocol = request.headers.get("Sec-WebSocket-Protocol", "").strip()
    return bearer or request.query.get("access_token", "") or protocol


def asker(request: web.Request, tokens: Tokens) -> Asker:
    """Who asks. Raises ApiError 401 for a token that was never given out."""
    given = given_token(request)
    if given and tokens.user and secrets.compare_digest(given.encode(), tokens.user.encode()):
        return Asker(True, given)
    if given and given not in tokens.apps:
        raise ApiError(401, "The access token is invalid")
    return Asker(False, given or None)


def wanted_feeds(policy: ServerPolicy, query: Mapping[str, str], asker: Asker) -> tuple[bool, bool]:
    """Which halves of the public timeline the request may have: (local, remote).

    Without `local` or `remote` both feeds must be public to be read anonymously. A disabled feed
    is empty to a user, and refused to everybody else. Raises ApiError.
    """
    only_local, only_remote = true(query.get("local")), true(query.get("remote"))
    if policy.closed and not asker.user:
        raise ApiError(401, "This API requires an authenticated user")
    if only_local:
        asked = [policy.local_feed]
    elif only_remote:
        asked = [policy.remote_feed]
    else:
        asked = [policy.local_feed, policy.remote_feed]
    if not asker.user and any(access != "public" for access in asked):
        raise ApiError(422, "This method requires an authenticated user")
    local = not only_remote or only_local
    remote = not only_local or only_remote
    if only_local and only_remote:
        local = remote = False  # both scopes at once: no toot is of both kinds
    return local and policy.local_feed != "disabled", remote and policy.remote_feed != "disabled"


def true(value: str | None) -> bool:
    """A query parameter as Rails casts it."""
    return value is not None and value not in _FALSE
