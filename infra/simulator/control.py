"""The simulator's control API: its status, the truth, and faults. Not Mastodon's API."""

import math
import time
from collections.abc import Iterable
from typing import Any, cast, get_args

import msgspec
from aiohttp import web

from infra.simulator.faults import ENDPOINTS, REQUEST_FAULTS, Endpoint, Fault
from infra.simulator.fediverse import Fediverse
from infra.simulator.frames import Wire
from infra.simulator.limits import ResetForm, reset_headers
from infra.simulator.server import SimulatedServer
from infra.simulator.truth import toots_per_server_per_hour

HELP = """\
GET  /status                            progress of publication, and listeners by server
GET  /truth                             every public toot published so far, one JSON object per line
GET  /truth/toots_per_server_per_hour   their number, as a JSON array
POST /start                             start publishing without waiting for listeners
POST /live?rate=2                       after the plan: toots per second in real time; 0 stops
POST /publish?server=DOMAIN             one toot now
POST /fault?kind=KIND[&server=DOMAIN]   at one server or at all, where KIND is
       cut                              reset every stream
       end                              close every stream properly
       silence, speak                   streams stay open but send nothing; send again
       unsubscribe, subscribe           streams send heartbeats alone; send events again
       pieces&bytes=N                   split what is streamed into pieces of N bytes; 0: as usual
       crlf                             end the lines of streams with CRLF
       event&name=NAME                  send a malformed or odd event to every stream
       restart&seconds=S                end every stream, refuse connections for S seconds
       clear                            end all of these, and those below
   or, for every request in the next S seconds at one ENDPOINT (instance, timeline, streaming,
   other) or at all, as fault_answers.py describes:
       answer&status=N[&reset=FORM&reset_seconds=S]
                                        an HTTP status; FORM is iso, epoch, retry_after or none
       wall&status=N                    a page for people, as from a bot wall before the server
       redirect[&target=URL]            to the same path, here or on another server
       bomb, endless_header, endless_line [&megabytes=N]
       elsewhere&target=URL&status=N&text=HOW
                                        as the domain of accounts of the server at URL, which is
                                        named by HOW: host-meta, nodeinfo, redirect, ...
       json&text=TEXT                   200 with this as JSON
       drop, hang, hang_up, cut_body, trickle, slow_header, garbage
       each with &seconds=S[&endpoint=ENDPOINT][&path=BEGINNING]
"""


def control_application(fediverse: Fediverse) -> web.Application:
    """Return the aiohttp application of the control port."""
    control = _Control(fediverse)
    app = web.Application()
    app.router.add_get("/", control.help)
    app.router.add_get("/status", control.status)
    app.router.add_get("/truth", control.truth)
    app.router.add_get("/truth/toots_per_server_per_hour", control.per_hour)
    app.router.add_post("/start", control.start)
    app.router.add_post("/live", control.live)
    app.router.add_post("/publish", control.publish)
    app.router.add_post("/fault", control.fault)
    return app


class _Control:
    def __init__(self, fediverse: Fediverse) -> None:
        self._fediverse = fediverse

    async def help(self, request: web.Request) -> web.Response:
        return web.Response(text=HELP)

    async def status(self, request: web.Request) -> web.Response:
        return _json(self._fediverse.status())

    async def truth(self, request: web.Request) -> web.Response:
        lines = (msgspec.json.encode(toot) + b"\n" for toot in self._fediverse.truth())
        return web.Response(body=b"".join(lines), content_type="application/x-ndjson")

    async def per_hour(self, request: web.Request) -> web.Response:
        return _json(toots_per_server_per_hour(self._fediverse.truth()))

    async def start(self, request: web.Request) -> web.Response:
        self._fediverse.started.set()
        return _json(self._fediverse.status())

    async def live(self, request: web.Request) -> web.Response:
        self._fediverse.live_rate = _number(request, "rate", 1.0)
        return _json(self._fediverse.status())

    async def publish(self, request: web.Request) -> web.Response:
        uris = [self._fediverse.publish_now(server.domain).uri for server in self._servers(request)]
        return _json({"uris": uris})

    async def fault(self, request: web.Request) -> web.Response:
        results: dict[str, Any] = {}
        for server in self._servers(request):
            results[server.domain] = inject_fault(
                server,
                request.query.get("kind", ""),
                seconds=_number(request, "seconds", 10.0),
                status=int(_number(request, "status", 503)),
                name=request.query.get("name", ""),
                endpoint=request.query.get("endpoint", ""),
                reset=request.query.get("reset", "none"),
                reset_seconds=_number(request, "reset_seconds", 10.0),
                target=request.query.get("target", ""),
                megabytes=int(_number(request, "megabytes", 64)),
                piece_bytes=int(_number(request, "bytes", 0)),
                path=request.query.get("path", ""),
                text=request.query.get("text", ""),
            )
        return _json(results)

    def _servers(self, request: web.Request) -> Iterable[SimulatedServer]:
        domain = request.query.get("server")
        if domain is None:
            return self._fediverse.servers
        if domain not in self._fediverse.by_domain:
            known = ", ".join(self._fediverse.by_domain)
            raise web.HTTPNotFound(text=f"no server {domain!r}; servers: {known}\n")
        return [self._fediverse.by_domain[domain]]


def inject_fault(
    server: SimulatedServer,
    kind: str,
    *,
    seconds: float = 10.0,
    status: int = 503,
    name: str = "",
    endpoint: str = "",
    reset: str = "none",
    reset_seconds: float = 10.0,
    target: str = "",
    megabytes: int = 64,
    piece_bytes: int = 0,
    path: str = "",
    text: str = "",
) -> Any:
    """Inject a fault at a server (see `HELP`); return a result if the fault has one.

    Raises HTTPBadRequest for an unknown kind, event, endpoint or form of a reset.
    """
    if endpoint not in ("", *ENDPOINTS) or reset not in get_args(ResetForm):
        raise web.HTTPBadRequest(text=f"no endpoint {endpoint!r}, or no reset {reset!r}\n\n{HELP}")
    match kind:
        case "cut":
            return server.streams.cut()
        case "end":
            server.streams.end()
        case "silence" | "speak":
            server.streams.wire.silent = kind == "silence"
        case "unsubscribe" | "subscribe":
            server.streams.subscribed = kind == "subscribe"
        case "pieces":
            server.streams.wire.piece_bytes = piece_bytes
        case "crlf":
            server.streams.wire.line_end = b"\r\n"
        case "restart":
            server.restart(seconds)
        case "event":
            try:
                return server.inject(name)
            except KeyError:
                raise web.HTTPBadRequest(text=f"no event {name!r}; see faults.py\n") from None
        case "clear":
            server.faults.clear()
            server.streams.wire = Wire()
            server.streams.subscribed = True
        case _ if kind in REQUEST_FAULTS:
            headers = reset_headers(cast(ResetForm, reset), time.time() + reset_seconds)
            until = time.monotonic() + seconds
            fault = Fault(kind, until, status, headers, target, megabytes, text, path)
            server.faults.inject(fault, cast(Endpoint, endpoint) if endpoint else None)
        case _:
            raise web.HTTPBadRequest(text=f"no fault {kind!r}\n\n{HELP}")
    return None


def _number(request: web.Request, name: str, default: float) -> float:
    try:
        number = float(request.query.get(name, default))
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number < 0:
        raise web.HTTPBadRequest(text=f"{name} is not a number of zero or more\n")
    return number


def _json(value: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(value), content_type="application/json")
