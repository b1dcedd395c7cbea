"""Mastodon.py on our own HTTP session: our User-Agent, public addresses only, bounded responses.

Mastodon.py asks for instance info, weekly activity, application registration and tokens. Streams
and timelines go through `Connections`, with the same policy.
"""

import math
import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import certifi
import requests
from mastodon import (
    Mastodon,
    MastodonAPIError,
    MastodonNetworkError,
    MastodonRatelimitError,
)
from requests.adapters import HTTPAdapter
from requests.utils import select_proxy
from urllib3 import ProxyManager
from urllib3.exceptions import HTTPError

from mastodon_pipeline.errors import (
    CrossHostRedirect,
    NoMastodonApi,
    Refused,
    ServerError,
    Unreachable,
)
from mastodon_pipeline.listening.client.addresses import check_address
from mastodon_pipeline.listening.client.exchange import POOLS, Peer
from mastodon_pipeline.listening.client.reasons import network_reason
from mastodon_pipeline.listening.client.traffic import Traffic
from mastodon_pipeline.servers import Server

MAX_RESPONSE_BYTES = 16 * 1024 * 1024
"""A larger response, after decompression, is not read to its end."""
REQUEST_TIMEOUT_SECONDS = 20.0
"""To connect, and for each read; a whole exchange may take three times as long."""


class ServerSession(requests.Session):
    """A `requests` session with our User-Agent, public addresses and same-host redirects only.

    It keeps no cookies. A response of more than 16 MiB raises Unreachable, and so does an exchange
    that takes longer than three timeouts, redirects included. For use in one thread.
    """

    def __init__(
        self,
        user_agent: str,
        allow_private_addresses: bool = False,
        seconds: float | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """`seconds`: how long all the session's exchanges may take together.

        `traffic`: counts them.
        """
        super().__init__()
        self.headers["User-Agent"] = user_agent
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.response_headers: Mapping[str, str] = {}
        """The last response's headers, for the rate budget."""
        self._allow_private = allow_private_addresses
        self._peer = Peer(check_addresses=not allow_private_addresses)
        self._exchanging = False
        self._traffic = traffic
        self._ends_at = math.inf if seconds is None else time.monotonic() + seconds
        for prefix in ("http://", "https://"):
            self.mount(prefix, _Adapter())

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send one request.

        Raises:
            UnsafeAddress: the URL is not https, or its host is not public.
            CrossHostRedirect: the server redirects to another host, or away from https.
            Unreachable: the response is too large or too slow.
            requests.RequestException: anything else that fails.
        """
        if self._exchanging:  # A redirect: part of the exchange.
            return self._send(request, **kwargs)
        timeout = kwargs.get("timeout")
        limit = 3 * (timeout if isinstance(timeout, int | float) else REQUEST_TIMEOUT_SECONDS)
        limit = min(limit, self._ends_at - time.monotonic())
        if limit <= 0:
            raise Unreachable("timed out")
        self._exchanging = True
        try:
            with self._peer.exchange(limit):
                response = self._send(request, **kwargs)
                if self._peer.timed_out:  # A body without a length ends where it was cut.
                    raise Unreachable("timed out")
                return response
        except (requests.RequestException, OSError, HTTPError):
            if self._peer.timed_out:
                raise Unreachable("timed out") from None
            raise
        finally:
            self._exchanging = False

    def close(self) -> None:
        """Close all connections."""
        super().close()
        self._peer.close()

    def _send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        if not self._allow_private:
            proxy = select_proxy(request.url or "", kwargs.get("proxies"))
            check_address(request.url or "", through_proxy=proxy is not None)
        response = super().send(request, **kwargs)
        self.response_headers = response.headers.copy()
        if self._traffic is not None:
            self._traffic.add_response(0, response.headers)
        # Mastodon.py takes a reset that it cannot parse for an exceeded limit.
        response.headers.pop("X-RateLimit-Reset", None)
        return response

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return the target of a redirect, or None.

        Raises CrossHostRedirect if it is another host, or http instead of https.
        """
        location = super().get_redirect_target(resp)
        if location is None:
            return None
        source, target = urlsplit(resp.url), urlsplit(location)
        if target.netloc and (target.hostname, target.port) != (source.hostname, source.port):
            resp.close()
            raise CrossHostRedirect(f"{source.netloc} redirects to {target.netloc}", location)
        if target.scheme == "http" and source.scheme == "https":
            resp.close()
            raise CrossHostRedirect(f"{source.netloc} redirects from https to http")
        return location


def mastodon_client(
    server: Server,
    token: str | None,
    session: ServerSession,
    timeout_seconds: float = REQUEST_TIMEOUT_SECONDS,
) -> Mastodon:
    """Build a Mastodon.py client on our session; it never sleeps and checks no versions."""
    return Mastodon(
        api_base_url=server.base_url,
        access_token=token,
        session=session,
        request_timeout=timeout_seconds,
        ratelimit_method="throw",
        version_check_mode="none",
        user_agent=str(session.headers["User-Agent"]),
    )


@contextmanager
def translated_errors(server: Server, client: Mastodon) -> Iterator[None]:
    """Translate Mastodon.py's errors of a call in the body.

    Raises:
        Refused: the server answers with an HTTP error.
        NoMastodonApi: it answers something else than Mastodon's API.
        Unreachable: no usable response.
        UnsafeAddress: its URL is not https, or its host is not public.
        CrossHostRedirect: it redirects to another host.
    """
    try:
        yield
    except MastodonRatelimitError:
        raise Refused(429, "Too Many Requests", _response_headers(client)) from None
    except MastodonAPIError as error:
        status = error.args[1] if len(error.args) > 1 else None
        if isinstance(status, int):
            raise Refused(status, str(error.args[2]), _response_headers(client)) from None
        raise NoMastodonApi(f"{server.name} does not speak Mastodon's API") from None
    except MastodonNetworkError as error:
        if isinstance(error.__context__, ServerError):
            raise error.__context__ from None
        raise Unreachable(network_reason(error)) from None
    except ServerError:
        raise
    except Exception:
        # Nested too deeply, or of other types than Mastodon.py casts.
        raise NoMastodonApi(f"{server.name} answers what makes no sense") from None


def _response_headers(client: Mastodon) -> Mapping[str, str]:
    headers: Mapping[str, str] = getattr(client.session, "response_headers", {})
    return headers


@cache
def trusted_context() -> ssl.SSLContext:
    """Return the TLS context that trusts certifi's certificates, or REQUESTS_CA_BUNDLE's.

    One for all connections, since loading the certificates takes 15 ms.
    """
    bundle = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
    return ssl.create_default_context(cafile=bundle or certifi.where())


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=trusted_context())
        self.poolmanager.pool_classes_by_scheme = POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if isinstance(manager, ProxyManager):
            manager.pool_classes_by_scheme = POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # Our context has the certificates; requests would load them again for each connection.
        conn.cert_reqs = "CERT_REQUIRED"

    def send(self, request: requests.PreparedRequest, *args: Any, **kw: Any) -> requests.Response:
        response = super().send(request, *args, **kw)
        unbounded = response.raw.stream

        def bounded(*args: Any, **kwargs: Any) -> Iterator[bytes]:
            size = 0
            for block in unbounded(*args, **kwargs):
                size += len(block)
                if size > MAX_RESPONSE_BYTES:
                    response.close()
                    raise Unreachable(f"the response is larger than {MAX_RESPONSE_BYTES} bytes")
                yield block

        response.raw.stream = bounded  # type: ignore[method-assign]
        return response
