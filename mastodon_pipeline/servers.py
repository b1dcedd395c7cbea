"""The Mastodon servers to listen to, as people write them down, and their access tokens."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args
from urllib.parse import urlsplit

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.paths import OWN_FILE
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.setting_files import read_settings_text, read_variables

Feed = Literal["local", "public", "remote"]
"""Toots by the server's own users, all that it knows, or only those by users of other servers."""


@dataclass(frozen=True, slots=True)
class Server:
    """One Mastodon server to listen to."""

    base_url: str
    """Scheme and name (see `server_names`): `https://mastodon.social`."""
    feed: Feed = "local"
    token_env: str = ""
    """The environment variable that holds the access token; the token itself is not held here."""

    @property
    def token(self) -> str | None:
        """The access token, or None: then the server's public timeline is polled.

        From the environment, else from the file `.env`.
        """
        return os.environ.get(self.token_env) or _own_file().get(self.token_env) or None

    @property
    def name(self) -> str:
        """The base URL without its scheme, as logs and the UI show it."""
        return self.base_url.split("://", 1)[1]

    @property
    def is_local(self) -> bool:
        """Whether it runs on this machine, as the simulator's servers do."""
        host = urlsplit(self.base_url).hostname or ""
        return bool(re.fullmatch(r"localhost|.+\.localhost|127(\.[0-9]+){3}|::1", host))


def parse_server(url: str, feed: str = "local", token_env: str = "") -> Server:
    """Return the server that a person wrote as `mastodon.social` or `https://mastodon.social/`.

    However it is written, it has one base URL: see `server_names`. Without `token_env` its token is
    in `MASTODON_TOKEN_<HOST>`, upper case, with an underscore for every other character:
    `MASTODON_TOKEN_MASTODON_SOCIAL`.

    Raises SettingsError if the text is not a server's address or the feed does not exist.
    """
    scheme, name, host = _parse_address(url)
    if feed not in get_args(Feed):
        raise SettingsError(f"feed {feed!r} of {url} is none of {', '.join(get_args(Feed))}")
    variable = token_env or _token_variable(name, host)
    return Server(f"{scheme}://{name}", feed, variable)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _parse_address(url: str) -> tuple[str, str, str]:
    """Return the scheme of a server's address, its name, and its host as written.

    Cached, since sensors ask for all servers every five seconds.
    """
    refusal = SettingsError(
        f"{url!r} is not a server's address; write it like https://mastodon.social"
    )
    text = url.strip().removesuffix("/")
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        _ = parts.port  # checked on access
    except ValueError:
        raise refusal from None
    # Credentials are dropped: logs show the base URL.
    host = parts.netloc.rpartition("@")[2].lower()
    plain = host and not re.search(r"[\s\x00-\x1f\\\ud800-\udfff]", host) and parts.hostname
    if text.startswith("@"):  # a person's handle, which credentials would look like
        raise refusal
    extra = parts.path or parts.query or parts.fragment
    if parts.scheme not in ("http", "https") or not plain or extra:
        raise refusal
    name = server_name(host, 80 if parts.scheme == "http" else 443)
    if not name or (not host.isascii() and not re.fullmatch(r"[a-z0-9_.-]+(:[0-9]+)?", name)):
        raise refusal
    return parts.scheme, name, host


def canonical_base_url(url: str) -> str:
    """Return the base URL by which a server is known now, for one that was saved or recorded.

    What is no base URL is returned as it is.
    """
    try:
        return parse_server(url).base_url
    except SettingsError:
        return url


def _token_variable(name: str, written: str) -> str:
    """Return the variable of the server's token: by its name, else as it is written if that is set.

    Tokens were stored by the host as it was written.
    """
    by_name, by_host = (
        "MASTODON_TOKEN_" + re.sub(r"[^A-Z0-9]", "_", host.upper()) for host in (name, written)
    )
    for variable in (by_name, by_host):
        if os.environ.get(variable) or (by_name != by_host and _own_file().get(variable)):
            return variable
    return by_name


def read_servers_file(path: Path) -> list[Server]:
    """Read a TOML file of `[[servers]]` tables with `url` and optionally `feed`, `token_env`.

    Raises SettingsError if the file does not exist or is not such a list.
    """
    setting = f"MASTODON_SERVERS_FILE {path}"
    try:
        content = _parse_toml(read_settings_text(path))
    except FileNotFoundError:
        raise SettingsError(f"MASTODON_SERVERS_FILE names {path}, which does not exist") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{setting} is not TOML: {error}") from None
    except SettingsError as error:
        raise SettingsError(f"MASTODON_SERVERS_FILE: {error}") from None
    tables = content.get("servers")
    if not isinstance(tables, list):
        raise SettingsError(
            f"{setting} is not a list of servers: write [[servers]] tables with a url each"
        )
    servers = []
    for number, table in enumerate(tables, start=1):
        try:
            servers.append(_parse_table(table))
        except SettingsError as error:
            raise SettingsError(f"{setting}, server {number}: {error}") from None
    return servers


@lru_cache(maxsize=1)
def _parse_toml(text: str) -> Mapping[str, object]:
    return tomllib.loads(text)


def _parse_table(table: object) -> Server:
    if not isinstance(table, dict):
        raise SettingsError("it is not a table: write [[servers]] with a url")
    if "url" not in table:
        raise SettingsError("it has no url")
    for name in ("url", "feed", "token_env"):
        if not isinstance(table.get(name, ""), str):
            raise SettingsError(f"its {name} is not text: write it in quotes")
    token_env = table.get("token_env", "")
    if token_env and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", token_env):
        raise SettingsError("its token_env is not the name of an environment variable")
    return parse_server(table["url"], table.get("feed", "local"), token_env)


def _own_file() -> Mapping[str, str | None]:
    try:
        status = OWN_FILE.stat()
    except OSError:
        return {}
    return _read_own_file(status.st_ino, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=1)
def _read_own_file(*_version: int) -> Mapping[str, str | None]:
    # Cached until the file changes: a thousand servers ask for their tokens within a second.
    return read_variables(OWN_FILE)
