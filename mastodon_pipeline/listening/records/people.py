"""Whose toots are recorded, and with what of their author: opt-outs and block lists.

**Opting out.** An author opts out of being indexed by `noindex` (whose word counts is told in
`record`), or by one of the tags that the Fediverse knows for it in their profile: `#nobot`,
`#nobots`, `#noindex`, `#noarchive`, in the biography, the name or a field of it, whichever server
shows it. Of such a toot neither text nor hashtags nor the account's name are recorded; it counts,
or with `COUNT_OPTED_OUT=false` it is not recorded at all. `discoverable` concerns the list of
profiles, `indexable` search: neither is a wish not to be read.

**Names.** Where persons have to be told apart without being named, a pseudonym stands for the name:
a hash with the lake's salt (`PERSON_SALT`), the same on every machine. Without a salt it is ''.

**Forgotten.** Of a person or server that asked to be forgotten (`mastodon-pipeline forget`) what
still comes is recorded without names, as it is in the lake by then: text, hashtags, addresses and
ids are gone, and it counts. This machine's list is in the data directory; what listeners on other
machines record becomes nameless in the lake.

**Blocked.** Of what a block list names nothing is recorded, from whichever server it comes, and it
is no dead letter either.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.listening.protocol.statuses import Account, texts_of_fields
from mastodon_pipeline.listening.records.block_lists import (
    BlockLists,
    blocks_server,
    read_block_lists,
)
from mastodon_pipeline.paths import forgotten_file
from mastodon_pipeline.settings import Settings

if TYPE_CHECKING:
    from mastodon_pipeline.listening.records.record import TootRecord

PSEUDONYM_MARK = "~"
"""Begins a pseudonym: no name on any known software does."""
_PSEUDONYM_CHARACTERS = 20
_NAMELESS_URI = re.compile(r"(?:[a-z]+://[^/#]+)?(?:/~[0-9a-f]{32}|#~[0-9a-f]{20})")
_HOST = re.compile(r"[a-z]+://[^/#]+")
_MAX_PROFILE_CHARACTERS = 20_000
_OPT_OUT_TAG = re.compile(
    r"#(?:<[^<>#]{0,200}>){0,3}no(?:bots?|index|archive)(?!\w)", re.IGNORECASE
)
"""In a profile's HTML: Mastodon writes `#<span>nobot</span>`. Linear in the text's length, since
nothing in it can cross another `#`."""


def opts_out_by_profile(account: Account) -> bool:
    """Return whether the profile has one of the tags that ask robots to stay away."""
    # Inlined: every toot passes here.
    if (note := account.note) and "#" in note and _has_tag(note):
        return True
    if (name := account.display_name) and "#" in name and _has_tag(name):
        return True
    fields = account.fields
    return len(fields) > len("[]") and b"#" in bytes(fields) and _field_has_tag(bytes(fields))


def _has_tag(text: str) -> bool:
    return _OPT_OUT_TAG.search(text, 0, _MAX_PROFILE_CHARACTERS) is not None


def _field_has_tag(fields: bytes) -> bool:
    return any(map(_has_tag, texts_of_fields(fields)))


def pseudonym(salt: str, name: str) -> str:
    """Return what stands for a name; '' without a salt.

    `lake.people` computes the same in SQL.
    """
    if not salt:
        return ""
    digest = hashlib.sha256(f"{salt}:{name}".encode()).hexdigest()
    return f"{PSEUDONYM_MARK}{digest[:_PSEUDONYM_CHARACTERS]}"


def account_key(username: str, server: str) -> str:
    """Return the text that identifies an account: `user@server`, in lower case."""
    return f"{username.lower()}@{server}"


@dataclass(frozen=True)
class PeopleRules:
    """The rules as of one moment."""

    salt: str = ""
    count_opted_out: bool = True
    blocks: BlockLists | None = None
    forgotten: frozenset[str] = frozenset()
    """Pseudonyms of accounts and servers that asked to be forgotten."""

    def without_forgotten(self, record: "TootRecord") -> "TootRecord":
        """Return the record, nameless if its author or their server asked to be forgotten."""
        if not self.forgotten or record.event == "delete":
            return record  # A delete has the uri that its toot was recorded with.
        name = record.username or record.acct.partition("@")[0]
        user = name
        if name and not name.startswith(PSEUDONYM_MARK):
            user = pseudonym(self.salt, account_key(name, record.server))
        if user in self.forgotten or pseudonym(self.salt, record.server) in self.forgotten:
            return _nameless(record, user, self.salt)
        return record

    def blocks_server(self, server: str) -> bool:
        """Return whether a server is on a block list."""
        return self.blocks is not None and blocks_server(self.blocks.domains, server)


def is_nameless(uri: str) -> bool:
    """Return whether a uri stands for one that named its author."""
    return _NAMELESS_URI.fullmatch(uri) is not None


def _nameless(record: "TootRecord", user: str, salt: str) -> "TootRecord":
    # As the macros in `lake/sql/forgetting_macros.sql`, so that all copies of a toot are one.
    uri, status_id = record.uri, record.status_id
    if uri and not is_nameless(uri):
        match = _HOST.match(uri)
        host = match[0] if match else ""
        rest = uri.removeprefix(host)
        digest = hashlib.sha256(f"{salt}:{uri}".encode()).hexdigest()
        uri = f"{host}/~{digest[:32]}"
        if host and rest.startswith("#"):
            uri = f"{host}#{pseudonym(salt, f'{host} {rest[1:]}')}"
    if status_id and not status_id.startswith(PSEUDONYM_MARK):
        status_id = pseudonym(salt, f"{record.base_url} {status_id}")
    _, at, domain = record.acct.partition("@")
    return msgspec.structs.replace(
        record,
        uri=uri,
        status_id=status_id,
        username=user,
        acct=f"{user}{at}{domain}",
        url="",
        mastodon_text="",
        tag_names=[],
    )


class People:
    """The rules in force; the files they come from are read again when they change."""

    def __init__(self, settings: Settings, reload: Callable[[], Settings] | None = None) -> None:
        """Read the rules. `reload`: returns the settings as they are by then.

        Raises SettingsError if a block list cannot be read.
        """
        self._settings = settings
        self._reload = reload
        self._read: object = None
        self.rules = PeopleRules()
        self.refresh()

    def refresh(self) -> None:
        """Read what has changed.

        Raises SettingsError if a block list cannot be read: nothing may be recorded then.
        """
        settings = self._settings if self._reload is None else self._reload()
        salt = settings.person_salt
        basis = (
            salt,
            settings.count_opted_out,
            tuple((path, _version(path)) for path in (*settings.blocklist, forgotten_file())),
        )
        if basis == self._read:
            return
        self.rules = PeopleRules(
            salt.get_secret_value() if salt else "",
            settings.count_opted_out,
            read_block_lists(settings.blocklist) if settings.blocklist else None,
            _read_forgotten(forgotten_file()) if salt else frozenset(),
        )
        self._read = basis


def _read_forgotten(path: Path) -> frozenset[str]:
    try:
        return frozenset(path.read_text("ascii").split())
    except FileNotFoundError:
        return frozenset()
    except (OSError, UnicodeDecodeError):
        raise SettingsError(
            f"{path}, which lists who asked to be forgotten, cannot be read: run"
            " mastodon-pipeline forget again"
        ) from None


def _version(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError:
        return ()
    return status.st_ino, status.st_mtime_ns, status.st_size
