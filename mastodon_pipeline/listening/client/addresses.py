"""Which addresses a Mastodon server may have, checked where the connection is made.

A name in a configuration, a redirect, or the streaming URL that a server advertises must not lead
into somebody's own network. A name is resolved once, checked, and the connection goes to exactly
the addresses that were checked; so a server that answers differently a moment later gains nothing.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from mastodon_pipeline.errors import UnsafeAddress

T = TypeVar("T")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: IPv4 addresses, for networks that have IPv6 alone."""


def check_scheme_and_literal(url: str) -> None:
    """Does nothing where the URL is https and its host a name, or a public IP address.

    Names are checked when they are resolved. Raises UnsafeAddress.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "wss"):
        raise UnsafeAddress(f"{parts.scheme}://{parts.netloc} is not https")
    try:
        ipaddress.ip_address(parts.hostname or "")
    except ValueError:
        return
    check_ip(parts.hostname or "", parts.hostname or "")


def check_address(url: str) -> None:
    """Does nothing where the URL is https and every address of its host is public.

    Raises UnsafeAddress. A name that cannot be resolved passes: the request says so, and better.
    """
    check_scheme_and_literal(url)
    parts = urlsplit(url)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return
    for *_, address in found:
        check_ip(parts.hostname or "", str(address[0]))


def check_ip(host: str, address: str) -> None:
    """Does nothing where the IP address, of the host so named, is public. Raises UnsafeAddress."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    meant = _embedded(ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    if not (ip.is_global and meant.is_global) or meant.is_multicast:
        raise UnsafeAddress(f"{host} has the address {ip}, which is not public")


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """The IPv4 address that a gateway would make of it, where it is of such a kind."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class PublicResolver(AbstractResolver):
    """Resolves names for aiohttp, to public addresses alone."""

    def __init__(self, allow_private_addresses: bool = False) -> None:
        self._allow_private = allow_private_addresses
        self._trusted: set[str] = set()

    def trust(self, host: str) -> None:
        """This host may have any address: the proxy that whoever runs us has named."""
        self._trusted.add(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The host's addresses. Raises UnsafeAddress where one is not public, and OSError."""
        infos = await in_daemon_thread(
            lambda: socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        )
        found = []
        for kind, _, proto, _, address in infos:
            if not self._allow_private and host not in self._trusted:
                check_ip(host, str(address[0]))
            found.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=int(address[1]),
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    async def close(self) -> None:
        """Nothing is kept."""


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Calls a function that blocks, in a thread of its own that does not outlive the process.

    asyncio's own executor is joined at the interpreter's end: a Ctrl-C would wait for the slowest
    name server. Whoever calls bounds how many run at once. Raises what the function raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def tell(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # Nobody waits for it any more.
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def call() -> None:
        result, error = None, None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # The loop may have been closed meanwhile.
            loop.call_soon_threadsafe(tell, result, error)

    Thread(target=call, name="blocking call", daemon=True).start()
    return await future
