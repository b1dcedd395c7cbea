"""The HTTP session to other people's servers: says who we are, goes only where it may.

Every request of the listening stage, Mastodon.py's included, passes `ServerSession.send`.
"""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import requests

STREAM_READ_TIMEOUT = 60.0
"""Seconds without a byte after which a stream counts as dead: four of Mastodon's heartbeats."""
REQUEST_TIMEOUT = 20.0
"""Seconds to connect, and between two reads of any other answer."""


class UnsafeAddress(Exception):
    """An address that a public server has no business to name: not https, or not a public IP."""


class CrossHostRedirect(Exception):
    """A server sent us to another host; a moved server is for a person to configure anew."""


class Refused(Exception):
    """A server answered, but with an HTTP error."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(f"{status} {reason}".strip())
        self.status = status
        self.headers: Mapping[str, str] = headers or {}


class Unreachable(Exception):
    """A server gave no usable answer: DNS, TCP, TLS, a timeout, or bytes that make no sense."""


class ServerSession(requests.Session):
    """A `requests` session with our User-Agent, the address check and same-host redirects only.

    A request with `stream=True` that is answered by an HTTP error raises Refused: Mastodon.py's
    streams would drop the status code, which decides between trying again and parking.
    """

    def __init__(self, user_agent: str, allow_private_addresses: bool = False) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self._allow_private = allow_private_addresses

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Sends one request.

        Raises UnsafeAddress, CrossHostRedirect, Refused (streamed answers only), and what
        `requests` raises.
        """
        if not self._allow_private:
            check_address(request.url or "")
        if "/api/v1/streaming" in (request.url or ""):
            # A compressed stream could unfold to anything before we see its first event.
            request.headers["Accept-Encoding"] = "identity"
        response = super().send(request, **kwargs)
        if kwargs.get("stream") and not response.ok:
            response.close()
            raise Refused(response.status_code, response.reason or "", response.headers)
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Where a redirect leads, on the same host.

        Raises CrossHostRedirect otherwise, or where https would become http.
        """
        target = super().get_redirect_target(resp)
        if target is None:
            return None
        here, there = urlsplit(resp.url), urlsplit(target)
        if there.netloc and (there.hostname, there.port) != (here.hostname, here.port):
            raise CrossHostRedirect(f"{here.netloc} redirects to {there.netloc}")
        if there.scheme == "http" and here.scheme == "https":
            raise CrossHostRedirect(f"{here.netloc} redirects from https to http")
        return target


def check_address(url: str) -> None:
    """Does nothing where the URL is https and every address of its host is public.

    The name is resolved here and once more when connecting; a server that answers differently in
    between is not caught by this check. Raises UnsafeAddress.
    """
    parts = urlsplit(url)
    if parts.scheme != "https":
        raise UnsafeAddress(f"{parts.scheme}://{parts.netloc} is not https")
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port or 443, type=socket.SOCK_STREAM)
    except socket.gaierror:
        return  # The request itself says so, and better.
    for *_, address in found:
        ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
        mapped = getattr(ip, "ipv4_mapped", None)
        if not (mapped or ip).is_global or ip.is_multicast:
            raise UnsafeAddress(f"{parts.hostname} has the address {ip}, which is not public")
