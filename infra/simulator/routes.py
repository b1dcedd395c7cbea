"""A simulated server's HTTP API: Mastodon 4.5's routes, errors and headers.

See: https://docs.joinmastodon.org/methods/ and, for access to feeds, Mastodon's
`Api::V1::Timelines::PublicController` and streaming/index.js.
"""

import math
import secrets
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import msgspec
from aiohttp import web
from yarl import URL

from infra.simulator.access import (
    ApiError,
    Client,
    authenticate,
    is_true,
    readable_feeds,
    request_token,
)
from infra.simulator.dialect import ruby_integer
from infra.simulator.fault_answers import answer as faulty_answer
from infra.simulator.faults import endpoint_of
from infra.simulator.instance import activity, instance_v1, instance_v2
from infra.simulator.server import RequestRecord, SimulatedServer
from infra.simulator.status import account
from infra.simulator.timeline import DEFAULT_LIMIT, MAXIMUM_LIMIT, Page

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def application(server: SimulatedServer) -> web.Application:
    """Return the aiohttp application of `server`."""
    routes = _Routes(server)
    app = web.Application(middlewares=[routes.middleware])
    paths: dict[str, Handler] = {
        "/api/v2/instance": routes.instance_v2,
        "/api/v1/instance": routes.instance_v1,
        "/api/v1/instance/activity": routes.activity,
        "/api/v1/accounts/verify_credentials": routes.verify_credentials,
        "/api/v1/timelines/public": routes.public_timeline,
        "/robots.txt": routes.robots,
        "/health": routes.health,
        "/api/v1/streaming/health": routes.health,
        "/api/v1/streaming": routes.stream,
    }
    if server.dialect.server_sent_events:
        paths |= {
            "/api/v1/streaming/public": routes.stream,
            "/api/v1/streaming/public/local": routes.stream,
            "/api/v1/streaming/public/remote": routes.stream,
        }
    for path, handler in paths.items():
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
        endpoint = endpoint_of(request.path)
        self._server.requests.append(
            RequestRecord(
                time.monotonic(),
                endpoint,
                str(request.rel_url),
                request.host,
                request.headers.get("User-Agent", ""),
                bool(request_token(request)),
            )
        )
        fault = self._server.faults.of(endpoint, request.path)
        headers: dict[str, str] = {}
        response: web.StreamResponse | None = None
        try:
            if fault is not None:
                response = await faulty_answer(fault, request)
            if response is None:
                if endpoint not in ("streaming", "robots"):
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
            now = time.time() + self._server.policy.clock_ahead_seconds
            response.headers["Date"] = formatdate(now, usegmt=True)
        return response

    def _admit(self, request: web.Request) -> dict[str, str]:
        client = authenticate(request, self._server.tokens)
        paging = any(name in request.query for name in ("min_id", "max_id", "since_id"))
        key, has_token = client.token or request.remote or "", client.token is not None
        admitted, headers = self._server.throttles.admit(key, has_token, paging)
        if not admitted:
            raise ApiError(429, "Too many requests", headers)
        return headers

    def _require_user(self, request: web.Request) -> None:
        client = authenticate(request, self._server.tokens)
        if client.token is None:
            raise ApiError(401, "The access token is invalid")
        if not client.user:
            raise ApiError(422, "This method requires an authenticated user")

    async def health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def robots(self, request: web.Request) -> web.Response:
        server = self._server
        of_streams = server.policy.streams_apart and server.streaming_url.endswith(request.host)
        text = server.policy.streaming_robots if of_streams else server.policy.robots
        if text is None:
            raise web.HTTPNotFound
        return web.Response(text=text)

    async def instance_v2(self, request: web.Request) -> web.Response:
        server = self._server
        return web.json_response(
            instance_v2(server.policy, server.streaming_url, server.people[-1])
        )

    async def instance_v1(self, request: web.Request) -> web.Response:
        server = self._server
        return web.json_response(
            instance_v1(server.policy, server.streaming_url, server.people[-1])
        )

    async def activity(self, request: web.Request) -> web.Response:
        if not self._server.policy.activity:
            raise ApiError(404, "Record not found")
        return web.json_response(activity(self._server.created, datetime.now(UTC)))

    async def verify_credentials(self, request: web.Request) -> web.Response:
        self._require_user(request)
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
        client = authenticate(request, self._server.tokens)
        self._server.served["polls"] += 1
        local, remote = readable_feeds(self._server.policy, request.query, client)
        if client.token is None:
            self._server.listened.set()
        key, seconds = str(request.rel_url), self._server.policy.cache_seconds
        cached = self._cache.get(key)
        if client.token is None and cached is not None and cached[0] > time.monotonic():
            body, headers = cached[1:]
        else:
            body, headers = self._page(request, local, remote)
            if client.token is None and seconds:
                headers["Cache-Control"] = f"public, max-age={math.ceil(seconds)}"
                self._cache[key] = (time.monotonic() + seconds, body, headers)
        return web.Response(body=body, content_type="application/json", headers=headers)

    def _page(
        self, request: web.Request, local: bool, remote: bool
    ) -> tuple[bytes, dict[str, str]]:
        query, timeline, policy = request.query, self._server.timeline, self._server.policy
        limit = min(abs(ruby_integer(query["limit"])) if "limit" in query else 20, MAXIMUM_LIMIT)
        min_id, since_id = self._id(query.get("min_id")), self._id(query.get("since_id"))
        if policy.min_id_is_since_id or policy.ignores_min_id:
            min_id, since_id = None, min_id if policy.min_id_is_since_id else since_id
        page = Page(
            local=local,
            remote=remote,
            only_media=is_true(query.get("only_media")),
            limit=min(limit if "limit" in query else DEFAULT_LIMIT, policy.page_limit),
            max_id=None if policy.ignores_max_id else self._id(query.get("max_id")),
            since_id=since_id,
            min_id=min_id,
            languages=policy.chosen_languages if self._client(request).user else (),
        )
        ids = timeline.page(page)
        headers = {"Link": self._links(request, ids)} if ids else {}
        return timeline.json(ids), headers

    def _client(self, request: web.Request) -> Client:
        return authenticate(request, self._server.tokens)

    def _links(self, request: web.Request, ids: list[int]) -> str:
        names = ("local", "remote", "limit", "only_media")
        query = {name: request.query[name] for name in names if name in request.query}
        page = URL(f"{self._server.base_url}/api/v1/timelines/public")
        id_text = self._server.dialect.id_text
        older = page.with_query({**query, "max_id": id_text(ids[-1])})
        newer = page.with_query({**query, "min_id": id_text(ids[0])})
        return f'<{older}>; rel="next", <{newer}>; rel="prev"'

    def _id(self, value: str | None) -> int | None:
        """Parse an id; a blank one counts as missing."""
        return self._server.dialect.id_number(value) if value else None

    async def stream(self, request: web.Request) -> web.StreamResponse:
        server = self._server
        websocket = request.headers.get("Upgrade", "").lower() == "websocket"
        if not (websocket or server.dialect.server_sent_events):
            raise ApiError(400, "Bad Request: the client is not using the websocket protocol")
        channel = request.query.get("stream") or (
            request.path.strip("/").removeprefix("api/v1/streaming").strip("/").replace("/", ":")
        )
        if channel.startswith("public") and is_true(request.query.get("only_media")):
            channel += ":media"
        if channel not in server.dialect.channels:
            raise ApiError(400, "Unknown channel requested")
        if not request_token(request):
            raise ApiError(401, "Missing access token")
        if not authenticate(request, server.tokens).user:
            raise ApiError(401, "Invalid access token")
        server.served["streams"] += 1
        server.listened.set()
        return await server.streams.serve(request, channel)


async def _form(request: web.Request) -> dict[str, str]:
    if request.content_type == "application/json":
        try:
            decoded = msgspec.json.decode(await request.read())
        except msgspec.DecodeError:
            raise ApiError(400, "Error occurred while parsing request parameters") from None
        return {str(k): str(v) for k, v in decoded.items()} if isinstance(decoded, dict) else {}
    return {name: str(value) for name, value in (await request.post()).items()}
