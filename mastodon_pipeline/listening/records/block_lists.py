"""Servers and accounts that the operator's block lists name, in the formats that Mastodon exports.

* Blocked domains: a CSV file whose header begins with `#domain`; the column `#severity` says
  `suspend` or `silence`, or `noop` for a domain that is not blocked.
* Blocked and muted accounts: an address a line, or a CSV file whose header begins with
  `Account address`.
* Any list of domains and addresses, one a line; other lines with a `#` in front are comments.

A domain is blocked with its subdomains, as Mastodon does it. A list that is missing, empty or wrong
is an error that names the line, never a list that blocks nobody: to block nobody, leave the header.

See: https://docs.joinmastodon.org/admin/moderation/#import-export
"""

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.server_names import server_name
from mastodon_pipeline.setting_files import read_settings_text

_DOMAIN_HEADER, _ACCOUNT_HEADER = "#domain", "account address"
_BLOCKING = frozenset({"suspend", "silence", ""})
_SEVERITIES = _BLOCKING | {"noop"}
_DOMAIN = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*(?::[0-9]{1,5})?")
_USER = re.compile(r"[^\s@/,;\"']{1,256}")
_SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class BlockLists:
    """Whom the lists name."""

    domains: frozenset[str]
    """Server names, see `server_names`."""
    accounts: frozenset[str]
    """`user@server`, in lower case."""

    def block(self, username: str, server: str) -> bool:
        """Return whether an account is blocked, or its server."""
        return blocks_server(self.domains, server) or (
            bool(self.accounts) and f"{username.lower()}@{server}" in self.accounts
        )


@lru_cache(65_536)
def blocks_server(domains: frozenset[str], server: str) -> bool:
    """Return whether a server, or a domain above it, is one of these."""
    if not domains:
        return False
    if server in domains:
        return True
    labels = server.partition(":")[0].split(".")
    return any(".".join(labels[start:]) in domains for start in range(len(labels)))


def read_block_lists(paths: Sequence[Path]) -> BlockLists:
    """Return what all of these files name. Raises SettingsError, which names file and line."""
    domains: set[str] = set()
    accounts: set[str] = set()
    for path in paths:
        try:
            text = read_settings_text(path)
        except FileNotFoundError:
            raise SettingsError(f"BLOCKLIST names {path}, which does not exist") from None
        except SettingsError as error:
            raise SettingsError(f"BLOCKLIST: {error}") from None
        if not text.strip():
            raise SettingsError(
                f"BLOCKLIST {path} is empty: to block nobody, write its header alone (#domain)"
            )
        for number, domain, account in _entries(path, text):
            if domain:
                domains.add(_name(path, number, domain))
            elif account:
                user, _, server = account.removeprefix("@").partition("@")
                if not _USER.fullmatch(user):
                    raise _wrong(path, number, account)
                accounts.add(f"{user.lower()}@{_name(path, number, server)}")
    return BlockLists(frozenset(domains), frozenset(accounts))


def _entries(path: Path, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield the number of a line with its domain, or its account."""
    severity = -1
    with_header = False
    for number, row in _rows(path, text):
        first = row[0].strip()
        if number == 1 and first.lower() in (_DOMAIN_HEADER, _ACCOUNT_HEADER):
            names = [cell.strip().lower() for cell in row]
            severity = names.index("#severity") if "#severity" in names else -1
            with_header = first.lower() == _DOMAIN_HEADER
            continue
        if not first or first.startswith("#"):
            if not first and any(map(str.strip, row)):
                raise _wrong(path, number, ",".join(row))
            continue
        if severity >= 0:
            if len(row) <= severity:
                raise _wrong(path, number, ",".join(row), "has no severity")
            value = row[severity].strip().lower()
            if value not in _SEVERITIES:
                raise _wrong(path, number, value, "is no severity (suspend, silence, noop)")
            if value not in _BLOCKING:
                continue
        if "@" in first.removeprefix("@") and not with_header:
            yield number, "", first
        else:
            yield number, first, ""


def _rows(path: Path, text: str) -> Iterator[tuple[int, Sequence[str]]]:
    reader = csv.reader(_lines(text), strict=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error as error:
        raise SettingsError(f"BLOCKLIST {path}, line {reader.line_num}: {error}") from None


def _lines(text: str) -> Iterable[str]:
    return text.replace("\r\n", "\n").replace("\r", "\n").splitlines(keepends=True)


def _name(path: Path, number: int, domain: str) -> str:
    name = server_name(domain.strip().removeprefix("*."))
    if not _DOMAIN.fullmatch(name):
        raise _wrong(path, number, domain)
    return name


def _wrong(path: Path, number: int, text: str, problem: str = "") -> SettingsError:
    shown = "".join(c for c in text[:_SHOWN_CHARACTERS] if c.isprintable())
    problem = problem or "is neither a domain nor an account (user@domain)"
    return SettingsError(f"BLOCKLIST {path}, line {number}: {shown!r} {problem}")
