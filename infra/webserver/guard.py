"""An ASGI layer that keeps web pages of other origins away from Dagster's webserver.

Dagster asks for no password, so a browser on this machine can do everything that its owner can,
and any page that the browser shows can try. Dagster's webserver itself executes GraphQL mutations
by GET, reads a JSON body under a content type that a page may send without asking, accepts a
WebSocket of any origin, and answers to any host name. The guard refuses, with 403 and one line:

- a Host that is not this machine's: after DNS rebinding, a foreign page is of the same origin;
- an Origin, or a Sec-Fetch-Site, of another page, for WebSockets too; a link to a page of the UI
  still works;
- GraphQL mutations in an address, and GraphQL by POST that is not declared as JSON or GraphQL.

Programs (curl, Dagster's own client) send none of these headers, and are let through: other users
of this machine are not kept out.
"""

import re
from collections.abc import Iterable
from urllib.parse import urlsplit

from graphql import GraphQLError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
_OWN_SITES = ("same-origin", "none")
"""`none`: a person typed the address, or chose a bookmark."""
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?")
_GRAPHQL_BODIES = ("application/json", "application/graphql")


class OriginGuard:
    """Passes on to `app` what comes from its own pages, or from no page at all."""

    def __init__(self, app: ASGIApp, allowed_hosts: Iterable[str] = ()) -> None:
        """Guard `app`, which is reached by the names of this machine and by `allowed_hosts`."""
        self._app = app
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._hosts = LOOPBACK_HOSTS | self._allowed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403 to a refused request or WebSocket; pass on every other one."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif (reason := self._refusal(HTTPConnection(scope))) is None:
            await self._app(scope, receive, _without_frames(send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": reason})
        else:
            await PlainTextResponse(f"{reason}\n", 403)(scope, receive, send)

    def _refusal(self, request: HTTPConnection) -> str | None:
        """Return why a request is refused, or None."""
        host = request.headers.get("host", "")
        if len(request.headers.getlist("host")) != 1 or _hostname(host) not in self._hosts:
            return (
                "refused: this webserver does not go by that host name; open it as"
                " http://127.0.0.1, or add the name to DAGSTER_ALLOWED_HOSTS"
            )
        if not all(self._is_own(origin, host) for origin in request.headers.getlist("origin")):
            return "refused: a page of another origin asked"
        site = request.headers.get("sec-fetch-site", "none")
        if site not in _OWN_SITES and not _follows_link(request):
            return "refused: a page of another site asked"
        if _is_graphql(request):
            return _graphql_refusal(request)
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Return whether an Origin is that of the UI's own pages.

        Another port of this machine is not. A proxy that has one of the allowed names may write
        the address of this webserver into Host.
        """
        netloc = _netloc(origin)
        return netloc == host.lower() or _hostname(netloc) in self._allowed


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _hostname(host: str) -> str:
    """Return the name or address in a Host header, without its port; '' if it makes no sense."""
    match = _HOST.fullmatch(host.lower())
    return match[1].strip("[]") if match else ""


def _follows_link(request: HTTPConnection) -> bool:
    """Return whether a person followed a link, in any site, to a page of the UI."""
    return (
        request.scope.get("method") == "GET"
        and request.headers.get("sec-fetch-mode") == "navigate"
        and request.headers.get("sec-fetch-dest") == "document"
        and not _is_graphql(request)
    )


def _is_graphql(request: HTTPConnection) -> bool:
    return str(request.scope["path"]).rstrip("/").endswith("/graphql")


def _graphql_refusal(request: HTTPConnection) -> str | None:
    if "query" in request.query_params and _is_mutation(request.query_params["query"]):
        return "refused: GraphQL mutations go by POST, with a JSON body"
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.scope.get("method") == "POST" and content_type not in _GRAPHQL_BODIES:
        return "refused: GraphQL by POST has the content type application/json"
    return None


def _is_mutation(text: str) -> bool:
    """Return whether a GraphQL document holds a mutation; one that nobody can parse is none."""
    try:
        definitions = parse(text).definitions
    except GraphQLError:
        return False
    except RecursionError:
        return True
    return any(
        isinstance(each, OperationDefinitionNode) and each.operation is OperationType.MUTATION
        for each in definitions
    )


def _without_frames(send: Send) -> Send:
    """Let no page of another origin show this one's in a frame, where clicks can be stolen."""

    async def send_with_header(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message).setdefault("X-Frame-Options", "SAMEORIGIN")
        await send(message)

    return send_with_header
