"""All connections of the event loop to other people's servers, under one policy.

- https only, and to public addresses only (see `addresses`); same-host redirects only.
- Our User-Agent; no cookies.
- At most 100 connects at once, so that a thousand streams that were cut together do not come back
  in the same instant; at most a few connections a host.
- By the proxy that the environment names (HTTPS_PROXY, NO_PROXY), as `requests` does it.
- An answer is at most 16 MiB, after decompression. A stream is never compressed.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
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
from mastodon_pipeline.listening.client.connect_pace import ConnectPace
from mastodon_pipeline.listening.client.patience import PATIENT, Patience
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.session import MAX_ANSWER_BYTES, trusted_context
from mastodon_pipeline.settings import Settings

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""A WebSocket message beyond this ends the connection; its toot is read from the timeline."""
_PAGES_AT_ONCE = 200
_PER_HOST = 6
_NO_STREAM = ("text/html", "application/json")
_KEEPALIVE_SECONDS = 30.0
"""Longer than the pause between two polls, so that a polled server need not greet us each time."""
_DNS_SECONDS = 300
_GOODBYE_SECONDS = 0.1


class Connections:
    """One event loop's HTTP client; use it as an asynchronous context manager, once."""

    def __init__(self, settings: Settings, patience: Patience = PATIENT) -> None:
        self._user_agent = settings.user_agent
        self._allow_private = settings.mastodon_allow_private_addresses
        self._patience = patience
        self._proxies = bool(getproxies())  # Mostly there are none: then no look for each request.
        self._resolver = PublicResolver(self._allow_private)
        self._pace = ConnectPace()
        self._paging = asyncio.Semaphore(_PAGES_AT_ONCE)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "Connections":
        trace = aiohttp.TraceConfig()
        trace.on_request_redirect.append(_stay_on_host)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=self._resolver,
                ssl=trusted_context(),
                limit=0,
                limit_per_host=_PER_HOST,
                keepalive_timeout=_KEEPALIVE_SECONDS,
                ttl_dns_cache=_DNS_SECONDS,
            ),
            headers={"User-Agent": self._user_agent},
            cookie_jar=aiohttp.DummyCookieJar(),
            # No timers of aiohttp's: a timer for each read of each stream would cost more than
            # the reads. What opens is timed here, what is silent is swept (see `streaming`).
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
            auto_decompress=False,
            trace_configs=[trace],
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            # TLS connections say goodbye; see aiohttp's documentation, Graceful Shutdown.
            await asyncio.sleep(_GOODBYE_SECONDS)

    @asynccontextmanager
    async def stream(self, url: str, token: str) -> AsyncIterator[aiohttp.ClientResponse]:
        """An open stream of server-sent events; closed at the end.

        Raises Refused for an HTTP error, Unreachable, UnsafeAddress, CrossHostRedirect.
        """
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "text/event-stream",
            # A compressed stream could unfold to anything before we see its first event.
            "Accept-Encoding": "identity",
        }
        async with self._pace.turn():
            response = await self._open(url, {}, headers)
        try:
            _check_answer(response)
            encoding = response.headers.get("Content-Encoding", "identity")
            if encoding != "identity":
                raise Unreachable(f"it compresses its stream ({encoding})")
            if response.content_type in _NO_STREAM:
                # A hoster's page for people, while the server behind it is down.
                raise Unreachable(f"it answers with {response.content_type}, which is no stream")
            yield response
        finally:
            response.close()

    @asynccontextmanager
    async def websocket(
        self, url: str, token: str
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse[Literal[False]]]:
        """An open WebSocket, pinged twice in the time that counts as silence; closed at the end.

        Raises as `stream` does.
        """
        async with self._pace.turn():
            try:
                async with asyncio.timeout(self._patience.request_seconds):
                    socket = await self._opened.ws_connect(
                        url,
                        proxy=await self._proxy(url),
                        headers={"Authorization": f"Bearer {token}"},
                        max_msg_size=MAX_MESSAGE_BYTES,
                        compress=0,
                        decode_text=False,
                        heartbeat=self._patience.silence_seconds / 2,
                        timeout=aiohttp.ClientWSTimeout(ws_close=1.0),
                    )
            except aiohttp.WSServerHandshakeError as error:
                if error.status == 101:
                    raise Unreachable(f"no WebSocket: {error.message}") from None
                raise Refused(error.status, error.message, error.headers) from None
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as error:
                raise _unreachable(error) from None
        try:
            yield socket
        finally:
            await socket.close()

    async def get(
        self, url: str, params: Mapping[str, str], token: str | None
    ) -> tuple[bytes, Mapping[str, str]]:
        """An answer's body, decompressed, and its headers. Raises as `stream` does."""
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip, deflate"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        async with self._paging:
            try:
                async with asyncio.timeout(3 * self._patience.request_seconds):
                    response = await self._open(url, params, headers)
                    try:
                        _check_answer(response)
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
        """Checks the address, and names the proxy by which it is reached, or None.

        Raises UnsafeAddress.
        """
        plain = url.replace("ws", "http", 1) if url.startswith("ws") else url
        proxy = None
        if self._proxies:
            proxy = select_proxy(plain, get_environ_proxies(plain, no_proxy=None))
        if proxy is not None:
            self._resolver.trust(urlsplit(proxy).hostname or "")
        if not self._allow_private:
            check_scheme_and_literal(url)
            if proxy is not None:  # It resolves the name itself, out of our resolver's sight.
                await in_daemon_thread(lambda: check_address(plain))
        return proxy

    async def _open(
        self, url: str, params: Mapping[str, str], headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        try:
            async with asyncio.timeout(self._patience.request_seconds):
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
    here = redirect.response.url
    target = redirect.response.headers.get("Location") or redirect.response.headers.get("URI")
    try:
        there = here.join(type(here)(target or ""))
    except ValueError:
        there = here
    if (there.host, there.port) != (here.host, here.port):
        redirect.response.close()
        raise CrossHostRedirect(f"{here.authority} redirects to {there.authority}")
    if there.scheme != here.scheme:
        redirect.response.close()
        raise CrossHostRedirect(f"{here.authority} redirects from {here.scheme} to {there.scheme}")


def _check_answer(response: aiohttp.ClientResponse) -> None:
    if response.status != 200:
        raise Refused(response.status, response.reason or "", response.headers)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    encoding = response.headers.get("Content-Encoding", "identity").lower()
    if encoding not in ("identity", "gzip", "deflate"):
        raise Unreachable(f"an answer compressed as {encoding}, which we did not ask for")
    # 47: gzip or zlib, as the data says itself.
    unpack = zlib.decompressobj(47) if encoding != "identity" else None
    parts: list[bytes] = []
    size = 0
    while block := await response.content.readany():
        try:
            part = unpack.decompress(block, MAX_ANSWER_BYTES + 1) if unpack else block
        except zlib.error as error:
            raise Unreachable(f"an answer that does not decompress: {error}") from None
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            response.close()
            raise Unreachable(f"an answer is larger than {MAX_ANSWER_BYTES} bytes")
        parts.append(part)
    if unpack and not unpack.eof:
        raise Unreachable("an answer that ends in the middle")
    return b"".join(parts)


def _unreachable(error: Exception) -> Exception:
    return Unreachable(network_reason(error))
