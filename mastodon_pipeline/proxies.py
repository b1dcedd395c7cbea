"""The proxies that the environment names, in the one form that every HTTP client understands.

requests, httpx, botocore, gRPC, DuckDB and Maven each read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and
NO_PROXY in a slightly different way. So the environment is changed once, when the package is
imported, for this process and the programs that it starts:

- This machine is never reached through a proxy: NO_PROXY gets the loopback addresses.
- A proxy without a scheme is an http proxy, as curl has it.
- A SOCKS proxy in ALL_PROXY is ignored if HTTPS_PROXY names an http one, which has precedence.

Without a proxy in the environment nothing is changed: NO_PROXY alone would hide macOS's own.
"""

import os
import re
from collections.abc import Iterator, MutableMapping
from urllib.parse import urlsplit

from mastodon_pipeline.errors import SettingsError, without_credentials

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_VARIABLES = tuple(
    name for each in ("https_proxy", "http_proxy", "all_proxy") for name in (each, each.upper())
)
"""Lower case first: it has precedence, as in curl."""


def normalise_proxies(environ: MutableMapping[str, str] = os.environ) -> None:
    """Give the environment's proxies a scheme, and exempt this machine from them."""
    for name in _VARIABLES:
        proxy = environ.get(name, "").strip()
        if proxy and "://" not in proxy:
            environ[name] = f"http://{proxy}"
    https = environ.get("https_proxy") or environ.get("HTTPS_PROXY") or ""
    if https.lower().startswith("http"):
        for name in ("all_proxy", "ALL_PROXY"):
            if environ.get(name, "").lower().startswith("socks"):
                del environ[name]
    if not any(environ.get(name) for name in _VARIABLES):
        return
    text = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    hosts = [host for host in re.split(r"[,\s]+", text) if host]
    if "*" not in hosts:
        hosts += [host for host in LOOPBACK_HOSTS if host not in hosts]
    # Both spellings: a program that knows one of them must not miss the other's hosts.
    environ["no_proxy"] = environ["NO_PROXY"] = ",".join(hosts)


def check_proxies(environ: MutableMapping[str, str] = os.environ) -> None:
    """Check that the environment's proxies are ones that all our HTTP clients can use.

    Raises SettingsError, which names the variable.
    """
    for name, proxy in proxies(environ):
        shown = without_credentials(proxy)
        scheme = proxy.partition("://")[0].lower()
        if scheme.startswith("socks"):
            raise SettingsError(
                f"{name}={shown} is a SOCKS proxy, which is not supported: set HTTPS_PROXY to the "
                f"same program's http proxy, or unset {name}"
            )
        try:
            parts = urlsplit(proxy)
            valid = scheme in ("http", "https") and parts.hostname and parts.port != 0
        except ValueError:
            valid = False
        if not valid:
            raise SettingsError(
                f"{name}={shown} is not a proxy's address; write it like http://proxy.example:3128"
            )


def proxies(environ: MutableMapping[str, str] = os.environ) -> Iterator[tuple[str, str]]:
    """Yield each variable that names a proxy, and its value."""
    for name in _VARIABLES:
        if environ.get(name):
            yield name, environ[name]
