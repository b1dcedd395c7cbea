"""The event loop's HTTP client for other people's servers, with one policy for every request.

- https to public addresses only (see `addresses`), and redirects on the same host only.
- Our User-Agent; no cookies.
- New connections are spaced out (see `ConnectPace`), and limited per host.
- Through the proxy named by the environment (HTTPS_PROXY, NO_PROXY), as in `requests`.
- A response is at most 16 MiB after decompression. Streams are never compressed.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http.client import responses
from types import SimpleNamespace
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

import aiohttp
from requests.utils import get_environ_proxies, select_proxy

from mastodon_pipeline.errors import CrossHostRedirect, Refused, Unreachable
from mastodon_pipeline.listening.client.addresses import (
    PublicResolver,
    check_address,
    check_scheme_and_literal,
    in_daemon_thread,
)
from mastodon_pipeline.listening.client.pacing import DEFAULT_TIMINGS, ConnectPace, Timings
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import MAX_RESPONSE_BYTES, trusted_context
from mastodon_pipeline.settings import Settings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A larger WebSocket message ends the connection; its toot is read from the timeline."""
_CONCURRENT_REQUESTS = 200
_CONNECTIONS_PER_HOST = 6
_NO_STREAM = ("text/html", "application/json")
_KEEPALIVE_SECONDS = 30.0
"""Longer than the pause between two polls, so that a polled server keeps its connection."""
_DNS_CACHE_SECONDS = 300
_TLS_SHUTDOWN_SECONDS = 0.1
_WEBSOCKET_CLOSE_SECONDS = 1.0


class Connections:
    """One event loop's HTTP client; an asynchronous context manager, to be entered once."""

    def __init__(self, settings: Settings, timings: Timings = DEFAULT_TIMINGS) -> None:
        self._user_agent = settings.user_agent
        self._allow_private = settings.mastodon_allow_private_addresses
        self._timings = timings
        self._has_proxies = bool(getproxies())  # Usually none, which saves a lookup per request.
        self._resolver = PublicResolver(self._allow_private)
        self._pace = ConnectPace()
        self._requests = asyncio.Semaphore(_CONCURRENT_REQUESTS)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Connections":
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_stay_on_host)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                ssl=trusted_context(),
                limit=0,
                limit_per_host=_CONNECTIONS_PER_HOST,
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ttl_dns_cache=_DNS_CACHE_SECONDS,
            ),
            headers={"User-Agent": self._user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            # Not aiohttp's timers: one per read of each stream would cost more than the reads.
            # Opening is timed here; silent streams are swept (see `streaming`).
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trace_configs=[trace],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            # TLS needs a moment to shut down; see aiohttp's documentation, "Graceful Shutdown".
            await asyncio.sleep(_TLS_SHUTDOWN_SECONDS)

    @asynccontextmanager
    async def stream(self, url: str, token: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a stream of server-sent events; close it at the end.

        Raises:
            Refused: the server answers with an HTTP error.
            Unreachable: no usable response: DNS, TCP, TLS, a timeout, or not an event stream.
            UnsafeAddress: the URL is not https, or its host is not public.
            CrossHostRedirect: the server redirects to another host, or away from https.
        """
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "text/event-stream",
            # A compressed stream could expand without bound before its first event.
            "Accept-Encoding": "identity",
        }
        async with self._pace.turn():
            response = await self._open(url, {}, headers)
        try:
            _check_status(response)
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise Unreachable(f"its stream is compressed ({encoding})")
            if response.content_type in _NO_STREAM:
                # An error page of the hosting provider, while the server behind it is down.
                raise Unreachable(f"it answers with {response.content_type}, not with a stream")
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def websocket(
        self, url: str, token: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse[Literal[False]]]:
        """Open a WebSocket, pinged twice within the silence timeout; close it at the end.

        Raises the same errors as `stream`.
        """
        async with self._pace.turn():
            try:
                async with asyncio.timeout(self._timings.request_seconds):
                    socket = await self._opened.ws_connect(
                        url,
                        proxy=await self._proxy(url),
                        headers={"Authorization": f"Bearer {token}"},
                        max_msg_size=MAX_MESSAGE_BYTES,
                        compress=0,
                        decode_text=False,
                        heartbeat=self._timings.silence_seconds / 2,
                        timeout=aiohttp.ClientWSTimeout(ws_close=_WEBSOCKET_CLOSE_SECONDS),
                    )
            except aiohttp.WSServerHandshakeError as error:
                if error.status == 101:
                    raise Unreachable(f"no WebSocket: {error.message}") from None
                # aiohttp's message is its own: "Invalid response status".
                phrase = responses.get(error.status, "")
                raise Refused(error.status, phrase, error.headers) from None
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
                raise _unreachable(error) from None
        try:
            yield socket
        finally:
            try:
                # aiohttp's own timeout is for each message that comes before the closing one.
                async with asyncio.timeout(_WEBSOCKET_CLOSE_SECONDS):
                    await socket.close()
            except TimeoutError:
                pass  # The connection is closed already.

    async def get(
        self, url: str, params: Mapping[str, str], token: str | None
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return a response's decompressed body and its headers.

        Raises the same errors as `stream`.
        """
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self._requests:
            try:
                async with asyncio.timeout(3 * self._timings.request_seconds):
                    response = await self._open(url, params, headers)
                    try:
                        _check_status(response)
                        return await _body(response), response.headers
                    finally:
                        response.release()
            except (TimeoutError, aiohttp.ClientError, OSError) as error:
                raise _unreachable(error) from None

    @property
    def _opened(self) -> aiohttp.ClientSession:
        assert self._session is not None, "use it as a context manager"
        return self._session

    async def _proxy(self, url: str) -> str | None:
        """Check the address and return its proxy, or None. Raises UnsafeAddress."""
        http_url = url.replace("ws", "http", 1) if url.startswith("ws") else url
        proxy = None
        if self._has_proxies:
            proxy = select_proxy(http_url, get_environ_proxies(http_url, no_proxy=None))
        if proxy is not None:
            self._resolver.trust(urlsplit(proxy).hostname or "")
        if not self._allow_private:
            check_scheme_and_literal(url)
            if proxy is not None:  # The proxy resolves the name, not our resolver.
                await in_daemon_thread(lambda: check_address(http_url, through_proxy=True))
        return proxy

    async def _open(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._timings.request_seconds):
                return await self._opened.get(
                    url,
                    params=params,
                    headers=headers,
                    proxy=await self._proxy(url),
                    max_redirects=5,
                )
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
            raise _unreachable(error) from None


async def _stay_on_host(
    _: aiohttp.ClientSession, __: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    source = redirect.response.url
    location = redirect.response.headers.get("Location") or redirect.response.headers.get("URI")
    try:
        target = source.join(type(source)(location or ""))
    except ValueError:
        target = source
    if (target.host, target.port) != (source.host, source.port):
        redirect.response.close()
        raise CrossHostRedirect(f"{source.authority} redirects to {target.authority}")
    if target.scheme != source.scheme:
        redirect.response.close()
        raise CrossHostRedirect(
            f"{source.authority} redirects from {source.scheme} to {target.scheme}"
        )


def _check_status(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise Refused(response.status, response.reason or "", response.headers)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Unreachable(f"the response is compressed as {encoding}, which we did not ask for")
    # 47: detect gzip or zlib from the data.
    decompressor = zlib.decompressobj(47) if encoding != "identity" else None
    parts: list[bytes] = []
    size = 0
    while block := await response.content.readany():
        try:
            part = decompressor.decompress(block, MAX_RESPONSE_BYTES + 1) if decompressor else block
        except zlib.error as error:
            raise Unreachable(f"the response does not decompress: {error}") from None
        size += len(part)
        if size > MAX_RESPONSE_BYTES:
            response.close()
            raise Unreachable(f"the response is larger than {MAX_RESPONSE_BYTES} bytes")
        parts.append(part)
    if decompressor and not decompressor.eof:
        raise Unreachable("the response is incomplete")
    return b"".join(parts)


def _unreachable(error: Exception) -> Exception:
    return Unreachable(network_reason(error))
