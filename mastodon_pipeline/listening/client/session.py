"""The HTTP session that Mastodon.py is given: says who we are, goes only where it may.

Discovery, application registration and tokens pass it; streams and timelines pass `Connections`,
under the same policy.
"""

import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from mastodon_pipeline.errors import CrossHostRedirect, Unreachable, UnsafeAddress
from mastodon_pipeline.listening.client.addresses import check_address, check_ip

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""An answer beyond this, after decompression, is not read to its end."""
ANSWER_SECONDS = 60.0
"""For an answer as a whole, where nothing else is said."""
REQUEST_TIMEOUT = 20.0
"""Seconds to connect, and to the head of an answer."""


class ServerSession(requests.Session):
    """A `requests` session with our User-Agent, checked addresses and same-host redirects only.

    It keeps no cookies. An answer larger than 16 MiB raises Unreachable.
    """

    def __init__(self, user_agent: str, allow_private_addresses: bool = False) -> None:
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.answer_headers: Mapping[str, str] = {}
        """The last answer's headers, for the rate budget."""
        self._allow_private = allow_private_addresses
        for prefix in ("http://", "https://"):
            self.mount(prefix, _Adapter(allow_private_addresses))

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Sends one request.

        Raises UnsafeAddress, CrossHostRedirect, Unreachable (an answer too large), and what
        `requests` raises.
        """
        if not self._allow_private:
            check_address(request.url or "")
        response = super().send(request, **kwargs)
        self.answer_headers = response.headers.copy()
        # Mastodon.py would take one that it cannot read for a limit that was hit.
        response.headers.pop("X-RateLimit-Reset", None)
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
            resp.close()
            raise CrossHostRedirect(f"{here.netloc} redirects to {there.netloc}")
        if there.scheme == "http" and here.scheme == "https":
            resp.close()
            raise CrossHostRedirect(f"{here.netloc} redirects from https to http")
        return target


@cache
def trusted_context() -> ssl.SSLContext:
    """The certificates that are trusted: certifi's, or those of REQUESTS_CA_BUNDLE.

    One context for all connections, since loading the certificates takes 15 ms.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle or certifi.where())


class _PublicConnection(HTTPSConnection):
    """Looks once more who it has reached, before a word is said.

    The name was checked before, but it was resolved again to connect, and a hostile name server
    may have answered differently.
    """

    def _new_conn(self) -> socket.socket:
        reached = super()._new_conn()
        try:
            if self.proxy is None:
                check_ip(self.host, reached.getpeername()[0])
        except UnsafeAddress:
            reached.close()
            raise
        return reached


class _PublicConnectionPool(HTTPSConnectionPool):
    ConnectionCls = _PublicConnection


class _Adapter(HTTPAdapter):
    def __init__(self, allow_private_addresses: bool) -> None:
        self._allow_private = allow_private_addresses
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=trusted_context())
        if not self._allow_private:
            self.poolmanager.pool_classes_by_scheme = {
                "http": HTTPConnectionPool,
                "https": _PublicConnectionPool,
            }

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # The context has the certificates; requests would load them again for each connection.
        conn.cert_reqs = "CERT_REQUIRED"

    def send(self, request: requests.PreparedRequest, *args: Any, **kw: Any) -> requests.Response:
        response = super().send(request, *args, **kw)
        whole = response.raw.stream
        timeout = kw.get("timeout")
        patience = 3 * timeout if isinstance(timeout, int | float) else ANSWER_SECONDS
        deadline = time.monotonic() + patience

        def capped(*args: Any, **kwargs: Any) -> Iterator[bytes]:
            size = 0
            for block in whole(*args, **kwargs):
                if time.monotonic() > deadline:
                    response.close()
                    raise Unreachable("it did not answer in time")
                size += len(block)
                if size > MAX_ANSWER_BYTES:
                    response.close()
                    raise Unreachable(f"an answer is larger than {MAX_ANSWER_BYTES} bytes")
                yield block

        response.raw.stream = capped  # type: ignore[method-assign]
        return response
