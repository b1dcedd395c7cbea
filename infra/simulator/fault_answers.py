"""The answers of a faulty server.

answer          an HTTP status, with the configured headers
wall            an HTTP status with a page of HTML, as from a bot wall before the server
drop            a reset before any answer
hang            nothing: the connection is accepted and the request never answered
hang_up         200, and the body ends at once
cut_body        200, and a reset in the middle of the body
trickle         200, and a space now and then, forever
redirect        302 to the same path with `?redirected=1`, here or on another server
bomb            200, a few kB of gzip that decompress to many MB of spaces
slow_header     200, with a header of a byte now and then, forever
endless_header  200, with a header line of many MB
endless_line    200, a body of many MB without a newline
garbage         200, a page of HTML
elsewhere       as the domain of accounts whose server is elsewhere: a page or an error of the
                status, but one well-known document names the server, or redirects to it
json            200, the configured text as JSON
"""

import asyncio
import zlib
from functools import lru_cache

from aiohttp import web
from multidict import CIMultiDict

from infra.simulator.access import ApiError
from infra.simulator.faults import Fault, endpoint_of

MEGABYTE = 2**20


async def answer(fault: Fault, request: web.Request) -> web.StreamResponse | None:
    """Return the faulty answer, or None for a request that is answered normally.

    Raises ApiError.
    """
    match fault.kind:
        case "answer":
            raise ApiError(fault.status, f"Simulated fault {fault.status}", fault.headers)
        case "wall":
            page = "<html><title>Just a moment...</title></html>"
            return web.Response(text=page, status=fault.status, content_type="text/html")
        case "drop":
            return _reset(request)
        case "hang":
            await asyncio.Event().wait()  # until the client leaves
        case "redirect":
            return _redirect(fault, request)
        case "garbage":
            page = "<html><body>Welcome</body></html>"
            return web.Response(text=page, content_type="text/html", headers=fault.headers)
        case "elsewhere":
            return _elsewhere(fault, request)
        case "json":
            return web.Response(text=fault.text, content_type="application/json")
        case "bomb":
            body = _bomb(fault.megabytes)
            return web.Response(body=body, headers=_headers(request) | {"Content-Encoding": "gzip"})
        case "hang_up":
            return await _body(request, [b":)\n"] if _streams(request) else [])
        case "cut_body":
            await _body(request, [b'data: {"id": "1"' if _streams(request) else b'[{"id": "1"'])
            return _reset(request)
        case "trickle":
            response = await _body(request, [b" "])
            while True:
                await asyncio.sleep(0.05)
                await response.write(b" ")
        case "endless_line":
            start = b"event: update\ndata: " if _streams(request) else b'{"domain": "'
            return await _body(request, [start, *[b"x" * MEGABYTE] * fault.megabytes])
        case "endless_header":
            return await _endless_header(request, fault.megabytes)
        case "slow_header":
            return await _slow_header(request)
    return None


def _streams(request: web.Request) -> bool:
    return endpoint_of(request.path) == "streaming"


def _headers(request: web.Request) -> dict[str, str]:
    return {"Content-Type": "text/event-stream" if _streams(request) else "application/json"}


def _reset(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=503)  # never arrives: the connection is gone


def _redirect(fault: Fault, request: web.Request) -> web.Response | None:
    if "redirected" in request.query:
        return None
    path = request.rel_url.update_query(redirected="1")
    return web.Response(
        status=302, headers=CIMultiDict({"Location": f"{fault.target}{path}"}), body=b""
    )


def _elsewhere(fault: Fault, request: web.Request) -> web.Response:
    """Answer by `fault.text`: `host-meta`, `nodeinfo`, `redirect` of all, `redirect webfinger`."""
    path, target = request.path, fault.target
    if fault.text == "host-meta" and path == "/.well-known/host-meta":
        xrd = (
            '<?xml version="1.0"?><XRD xmlns="http://docs.oasis-open.org/ns/xri/xrd-1.0">'
            f'<Link rel="lrdd" template="{target}/.well-known/webfinger?resource={{uri}}"/></XRD>'
        )
        return web.Response(text=xrd, content_type="application/xrd+xml")
    if fault.text == "nodeinfo" and path == "/.well-known/nodeinfo":
        rel = "http://nodeinfo.diaspora.software/ns/schema/2.0"
        links = [{"rel": rel, "href": f"{target}/nodeinfo/2.0"}]
        return web.json_response({"links": links})
    if fault.text == "redirect" or (fault.text == "redirect webfinger" and "webfinger" in path):
        return web.Response(status=301, headers={"Location": f"{target}{request.rel_url}"})
    page = "<html><body>Ann's web site</body></html>"
    return web.Response(text=page, status=fault.status, content_type="text/html")


async def _body(request: web.Request, parts: list[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers=_headers(request))
    response.enable_chunked_encoding()
    response.force_close()
    await response.prepare(request)
    for part in parts:
        await response.write(part)
    return response


async def _endless_header(request: web.Request, megabytes: int) -> web.Response:
    transport = request.transport
    assert transport is not None
    transport.write(b"HTTP/1.1 200 OK\r\nX-Endless: ")
    for _ in range(megabytes * 16):
        while transport.get_write_buffer_size() > MEGABYTE and not transport.is_closing():
            await asyncio.sleep(0.005)
        if transport.is_closing():
            break
        transport.write(b"x" * (MEGABYTE // 16))
    return _reset(request)


async def _slow_header(request: web.Request) -> web.Response:
    transport = request.transport
    assert transport is not None
    transport.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not transport.is_closing():
        transport.write(b"x")
        await asyncio.sleep(0.05)
    return _reset(request)


@lru_cache(maxsize=2)
def _bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    spaces = b" " * MEGABYTE
    packed = b"".join(packer.compress(spaces) for _ in range(megabytes))
    return packed + packer.flush()
