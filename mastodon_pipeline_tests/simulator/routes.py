"""A simulated server's HTTP side: Mastodon 4.5's routes, refusals and headers.

See: https://docs.joinmastodon.org/methods/ and, for who may read what, Mastodon's
`Api::V1::Timelines::PublicController` and streaming/index.js.
"""

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web
from yarl import URL

from mastodon_pipeline_tests.simulator.instance import activity, instance_v1, instance_v2
from mastodon_pipeline_tests.simulator.server import SimulatedServer
from mastodon_pipeline_tests.simulator.status import account
from mastodon_pipeline_tests.simulator.streams import CHANNELS
from mastodon_pipeline_tests.simulator.timeline import DEFAULT_LIMIT, MAXIMUM_LIMIT, Page

_FALSE = {"", "0", "f", "F", "false", "FALSE", "off", "OFF"}  # Rails' boolean cast
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """An answer with this HTTP status, `{"error": message}` and these headers."""

    def __init__(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.headers = status, message, headers


@dataclass(frozen=True, slots=True)
class _Asker:
    """Who a request is from."""

    user: bool
    token: str | None


def application(server: SimulatedServer) -> web.Application:
    """The aiohttp application that answers for `server`."""
    routes = _Routes(server)
    app = web.Application(middlewares=[routes.middleware])
    for path, handler in {
        "/api/v2/instance": routes.instance_v2,
        "/api/v1/instance": routes.instance_v1,
        "/api/v1/instance/activity": routes.activity,
        "/api/v1/accounts/verify_credentials": routes.verify_credentials,
        "/api/v1/timelines/public": routes.public_timeline,
        "/health": routes.health,
        "/api/v1/streaming/health": routes.health,
        "/api/v1/streaming": routes.stream,
        "/api/v1/streaming/public": routes.stream,
        "/api/v1/streaming/public/local": routes.stream,
        "/api/v1/streaming/public/remote": routes.stream,
    }.items():
        app.router.add_get(path, handler)
        app.router.add_get(path + "/", handler)
    app.router.add_post("/api/v1/apps", routes.apps)
    app.router.add_post("/oauth/token", routes.token)
    return app


class _Routes:
    def __init__(self, server: SimulatedServer) -> None:
        self._server = server
        self._cache: dict[str, tuple[float, bytes, dict[str, str]]] = {}

    @property
    def middleware(self) -> Any:
        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._answer(request, handler)

        return answer

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        faults = self._server.faults
        headers: dict[str, str] = {}
        try:
            if faults.dropping and request.transport is not None:
                request.transport.abort()
                raise ApiError(503, "dropped")  # never arrives: the connection is gone
            if (status := faults.answering) is not None:
                raise ApiError(status, f"Simulated fault {status}")
            if not request.path.startswith("/api/v1/streaming"):
                headers = self._admit(request)
            response = await handler(request)
        except ApiError as error:
            response = web.json_response(
                {"error": error.message}, status=error.status, headers=error.headers
            )
        except web.HTTPException as error:
            response = web.json_response({"error": error.reason}, status=error.status)
        if not response.prepared:
            response.headers.update(headers)
        return response

    def _admit(self, request: web.Request) -> dict[str, str]:
        asker = self._asker(request)
        paging = any(name in request.query for name in ("min_id", "max_id", "since_id"))
        client = asker.token or request.remote or ""
        admitted, headers = self._server.throttles.admit(client, asker.token is not None, paging)
        if not admitted:
            raise ApiError(429, "Too many requests", headers)
        return headers

    def _asker(self, request: web.Request) -> _Asker:
        tokens = self._server.tokens
        given = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
        given = given or request.query.get("access_token", "")
        if given and tokens.user and secrets.compare_digest(given.encode(), tokens.user.encode()):
            return _Asker(True, given)
        if given and given not in tokens.apps:
            raise ApiError(401, "The access token is invalid")
        return _Asker(False, given or None)

    def _demand_user(self, request: web.Request) -> None:
        asker = self._asker(request)
        if asker.token is None:
            raise ApiError(401, "The access token is invalid")
        if not asker.user:
            raise ApiError(422, "This method requires an authenticated user")

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def instance_v2(self, request: web.Request) -> web.Response:
        server = self._server
        return web.json_response(instance_v2(server.policy, server.base_url, server.people[-1]))

    async def instance_v1(self, request: web.Request) -> web.Response:
        server = self._server
        return web.json_response(instance_v1(server.policy, server.base_url, server.people[-1]))

    async def activity(self, request: web.Request) -> web.Response:
        if not self._server.policy.activity:
            raise ApiError(404, "Record not found")
        return web.json_response(activity(self._server.created, datetime.now(UTC)))

    async def verify_credentials(self, request: web.Request) -> web.Response:
        self._demand_user(request)
        return web.json_response(account(self._server.people[0], self._server.domain))

    async def apps(self, request: web.Request) -> web.Response:
        form = await _form(request)
        return web.json_response(
            {
                "id": "1",
                "name": form.get("client_name", ""),
                "website": form.get("website"),
                "scopes": form.get("scopes", "read").split(),
                "redirect_uri": form.get("redirect_uris", ""),
                "redirect_uris": form.get("redirect_uris", "").split(),
                "client_id": secrets.token_urlsafe(32),
                "client_secret": secrets.token_urlsafe(32),
                "client_secret_expires_at": 0,
            }
        )

    async def token(self, request: web.Request) -> web.Response:
        form, tokens = await _form(request), self._server.tokens
        grant = form.get("grant_type")
        if grant == "client_credentials":
            granted = secrets.token_urlsafe(32)
            tokens.apps.add(granted)
        elif (
            grant == "authorization_code" and tokens.user and form.get("code") == tokens.login_code
        ):
            granted = tokens.user
        else:
            raise ApiError(400, "invalid_grant")
        return web.json_response(
            {
                "access_token": granted,
                "token_type": "Bearer",
                "scope": form.get("scope", "read"),
                "created_at": int(time.time()),
            }
        )

    async def public_timeline(self, request: web.Request) -> web.Response:
        asker = self._asker(request)
        self._server.served["polls"] += 1
        local, remote = _wanted_feeds(self._server, request, asker)
        if asker.token is None:
            self._server.listened.set()
        key, seconds = str(request.rel_url), self._server.policy.cache_seconds
        cached = self._cache.get(key)
        if asker.token is None and cached is not None and cached[0] > time.monotonic():
            body, headers = cached[1:]
        else:
            body, headers = self._page(request, local, remote)
            if asker.token is None and seconds:
                self._cache[key] = (time.monotonic() + seconds, body, headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _page(
        self, request: web.Request, local: bool, remote: bool
    ) -> tuple[bytes, dict[str, str]]:
        query, timeline = request.query, self._server.timeline
        limit = min(abs(_integer(query.get("limit")) if "limit" in query else 20), MAXIMUM_LIMIT)
        page = Page(
            local=local,
            remote=remote,
            only_media=_true(query.get("only_media")),
            limit=limit if "limit" in query else DEFAULT_LIMIT,
            max_id=_id(query.get("max_id")),
            since_id=_id(query.get("since_id")),
            min_id=_id(query.get("min_id")),
        )
        ids = timeline.page(page)
        headers = {"Link": self._links(request, ids)} if ids else {}
        return timeline.json(ids), headers

    def _links(self, request: web.Request, ids: list[int]) -> str:
        kept = ("local", "remote", "limit", "only_media")
        query = {name: request.query[name] for name in kept if name in request.query}
        page = URL(f"{self._server.base_url}/api/v1/timelines/public")
        older = page.with_query({**query, "max_id": str(ids[-1])})
        newer = page.with_query({**query, "min_id": str(ids[0])})
        return f'<{older}>; rel="next", <{newer}>; rel="prev"'

    async def stream(self, request: web.Request) -> web.StreamResponse:
        channel = request.query.get("stream") or (
            request.path.strip("/").removeprefix("api/v1/streaming").strip("/").replace("/", ":")
        )
        if channel.startswith("public") and _true(request.query.get("only_media")):
            channel += ":media"
        if channel not in CHANNELS:
            raise ApiError(400, "Unknown channel requested")
        if "Authorization" not in request.headers and "access_token" not in request.query:
            raise ApiError(401, "Missing access token")
        if not self._asker(request).user:
            raise ApiError(401, "Invalid access token")
        self._server.served["streams"] += 1
        self._server.listened.set()
        return await self._server.streams.serve(request, channel)


def _wanted_feeds(
    server: SimulatedServer, request: web.Request, asker: _Asker
) -> tuple[bool, bool]:
    """Which halves of the public timeline the request may have: (local, remote).

    Without `local` or `remote` both feeds must be public to be read anonymously. A disabled feed
    is empty to a user, and refused to everybody else.
    """
    policy = server.policy
    only_local, only_remote = _true(request.query.get("local")), _true(request.query.get("remote"))
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


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type == "application/json":
        try:
            decoded = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            raise ApiError(400, "Error occurred while parsing request parameters") from None
        return {str(k): str(v) for k, v in decoded.items()} if isinstance(decoded, dict) else {}
    return {name: str(value) for name, value in (await request.post()).items()}


def _true(value: str | None) -> bool:
    return value is not None and value not in _FALSE


def _integer(value: str | None) -> int:
    """As Ruby reads it: what is no number is 0."""
    try:
        return int(value or 0)
    except ValueError:
        return 0


def _id(value: str | None) -> int | None:
    """A blank id is none at all."""
    return _integer(value) if value else None
