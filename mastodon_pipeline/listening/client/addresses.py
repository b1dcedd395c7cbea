"""Which addresses a Mastodon server may have, checked when the connection is made.

A configured name, a redirect or the streaming URL that a server advertises must not lead into a
private network. A name is resolved once and checked, and the connection goes to exactly the
addresses that were checked: DNS that answers differently a moment later (rebinding) gains nothing.
"""

import asyncio
import ipaddress
import socket
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from threading import Thread
from typing import TypeVar
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from mastodon_pipeline.errors import UnsafeAddress

T = TypeVar("T")
_MAX_HOST_CHARACTERS = 300
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
"""RFC 6052: IPv4 addresses for IPv6-only networks."""
_FAKE_IP = ipaddress.IPv4Network("198.18.0.0/15")
"""RFC 2544, for benchmarks; the "fake-IP DNS" of a VPN or proxy program gives every name one."""


def check_scheme_and_literal(url: str) -> None:
    """Check that the URL is https, and its host a name or a public IP address.

    Names are checked when they are resolved. Raises UnsafeAddress.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("https", "wss"):
        raise UnsafeAddress(f"{parts.scheme}://{parts.netloc} is not https")
    literal = _literal(parts.hostname or "")
    if literal is not None:
        check_ip(parts.hostname or "", literal)


def _literal(host: str) -> str | None:
    """Return the IP address that a host is a spelling of, or None for a name.

    HTTP clients normalize a host before they connect: `①②⑦.⓪.⓪.①` is 127.0.0.1. Resolvers read
    the spellings of `inet_aton`, too: 127.1, 0x7f000001, 2130706433.
    """
    text = unicodedata.normalize("NFKC", host[:_MAX_HOST_CHARACTERS]).replace("\u3002", ".")
    text = "".join(c for c in text if unicodedata.category(c) != "Cf").rstrip(".")
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        pass
    try:
        return str(ipaddress.ip_address(socket.inet_aton(text)))
    except (OSError, ValueError):
        return None


def check_address(url: str, through_proxy: bool = False) -> None:
    """Check that the URL is https and that every address of its host is public.

    A name that cannot be resolved passes: the request reports it with a better message. Through a
    proxy, which resolves the name itself, a fake address of our own name server passes as well.
    Raises UnsafeAddress.
    """
    check_scheme_and_literal(url)
    parts = urlsplit(url)
    try:
        infos = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except OSError:
        return
    for *_, address in infos:
        if through_proxy and _is_fake(str(address[0])):
            continue
        check_ip(parts.hostname or "", str(address[0]))


def check_ip(host: str, address: str) -> None:
    """Check that an IP address of `host` is public. Raises UnsafeAddress."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    target = _embedded(ip) if isinstance(ip, ipaddress.IPv6Address) else ip
    if _is_fake(address):
        raise UnsafeAddress(
            f"{host} has the address {ip}, as the fake-IP DNS of a VPN or proxy program gives it to"
            " every name: switch its fake-IP mode off, or set HTTPS_PROXY to its http proxy"
        )
    if not (ip.is_global and target.is_global) or target.is_multicast:
        raise UnsafeAddress(f"{host} has the address {ip}, which is not public")


def _is_fake(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    return (ip.ipv4_mapped or ip if isinstance(ip, ipaddress.IPv6Address) else ip) in _FAKE_IP


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Return the IPv4 address that a gateway would translate it to, or the address itself."""
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour or ip


class PublicResolver(AbstractResolver):
    """Resolves names for aiohttp, and accepts public addresses only."""

    def __init__(self, allow_private_addresses: bool = False) -> None:
        self._allow_private = allow_private_addresses
        self._trusted: set[str] = set()

    def trust(self, host: str) -> None:
        """Accept any address of this host: the proxy configured in our environment."""
        self._trusted.add(host)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the host's addresses.

        Raises:
            UnsafeAddress: one of them is not public.
            OSError: the name cannot be resolved.
        """
        infos = await in_daemon_thread(
            lambda: socket.getaddrinfo(
                host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
            )
        )
        results = []
        for kind, _, proto, _, address in infos:
            if not self._allow_private and host not in self._trusted:
                check_ip(host, str(address[0]))
            results.append(
                ResolveResult(
                    hostname=host,
                    host=str(address[0]),
                    port=int(address[1]),
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return results

    async def close(self) -> None:
        """Do nothing: no resources are held."""


async def in_daemon_thread(function: Callable[[], T]) -> T:
    """Run a blocking function in a daemon thread and return its result.

    asyncio's default executor is joined when the interpreter exits, so a Ctrl-C would wait for the
    slowest name server. The caller bounds how many run at once. Raises what the function raises.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def resolve(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return  # Cancelled meanwhile.
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
        with suppress(RuntimeError):  # The loop is closed already.
            loop.call_soon_threadsafe(resolve, result, error)

    Thread(target=call, name="blocking call", daemon=True).start()
    return await future
