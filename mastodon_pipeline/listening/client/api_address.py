"""Where the API of a domain's accounts is, if the domain has none itself.

Many people name a server by the domain in its handles: `@ann@example.com`, while the server's API
is at `social.example.com`. Such a domain says where, for other servers to find its accounts: by a
redirect of `/.well-known/...`, or a document there. No redirect is followed: the other address is
judged and asked like any server, and named only if it describes itself as that domain's.

See: https://docs.joinmastodon.org/admin/config/#web_domain, RFC 6415 (host-meta), RFC 7033
(webfinger), https://nodeinfo.diaspora.software/protocol
"""

import re
from collections.abc import Callable, Iterator
from urllib.parse import quote, urlsplit

import requests

from mastodon_pipeline.errors import CrossHostRedirect, ServerError, SettingsError
from mastodon_pipeline.foreign_text import clean_line
from mastodon_pipeline.listening.client.session import ServerSession
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.servers import Server, parse_server

_MAX_TEXT_CHARACTERS = 65_536
_MAX_URL_CHARACTERS = 500
_ADDRESS = re.compile(r"https?://[^\s\"'<>/\\]{1,300}")


def find_api(
    server: Server,
    session: ServerSession,
    timeout_seconds: float,
    described_domain: Callable[[Server], str],
) -> Server | None:
    """Return the server with the API of the accounts at this server's host, if it is another.

    `described_domain` asks a server for the domain in its accounts' addresses; it may raise
    ServerError.
    """
    host = server_name(urlsplit(server.base_url).netloc)
    asked = {server.base_url}
    for address in _named_addresses(server, session, timeout_seconds):
        try:
            candidate = parse_server(address)
        except SettingsError:
            continue
        if candidate.base_url in asked:
            continue
        asked.add(candidate.base_url)
        try:
            if server_name(described_domain(candidate)) == host:
                return candidate
        except ServerError:
            continue
    return None


def _named_addresses(
    server: Server, session: ServerSession, timeout_seconds: float
) -> Iterator[str]:
    """Yield the addresses that the host's well-known documents name, at most one of each."""
    domain = urlsplit(server.base_url).netloc
    handle = quote(f"acct:{domain}@{domain}")
    for path in ("host-meta", "nodeinfo", f"webfinger?resource={handle}"):
        url = f"{server.base_url}/.well-known/{path}"
        try:
            response = session.get(url, timeout=timeout_seconds, allow_redirects=False)
            text = response.text[:_MAX_TEXT_CHARACTERS] if response.ok else ""
        except CrossHostRedirect as redirect:
            text = redirect.target
        except (ServerError, requests.RequestException, ValueError):
            continue
        own = f"//{domain}".lower()
        # host-meta's template, nodeinfo's links, or where the redirect leads.
        addresses = (match[0] for match in _ADDRESS.finditer(text))
        for address in addresses:
            unusable = clean_line(address, _MAX_URL_CHARACTERS) != address
            if unusable or address.lower().endswith(own) or _is_a_standard(address):
                continue
            yield address
            break


def _is_a_standard(address: str) -> bool:
    """Return whether it names a format, as namespaces in these documents do."""
    host = urlsplit(address).hostname or ""
    return host in ("docs.oasis-open.org", "nodeinfo.diaspora.software", "www.w3.org")
