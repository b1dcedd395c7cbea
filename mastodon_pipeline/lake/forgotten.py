"""Who asked to be forgotten: hashes in the bucket, with the salt of the git-ignored settings file.

The list names nobody to whoever has the bucket alone, and without the salt it cannot be applied:
a lake with such a list is not built without it. It only grows.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import duckdb

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.files import ListFiles
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query

_FRESH_SECONDS = 5.0
"""How long a listing of the list's file counts: a build of many hours asks for each."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Whose records are nameless."""

    salt: str = ""
    accounts: tuple[str, ...] = ()
    """Pseudonyms of `user@server`, see `pseudonym` in `lake/sql`."""
    servers: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.accounts or self.servers)

    @property
    def parameters(self) -> dict[str, object]:
        """The query's parameters."""
        return {
            "salt": self.salt,
            "accounts": list(self.accounts),
            "servers": list(self.servers),
        }

    def with_names(self, accounts: Sequence[str] = (), servers: Sequence[str] = ()) -> "Forgotten":
        """Return the list with these names in addition: `user@server` in lower case, servers."""
        return Forgotten(
            self.salt,
            tuple(sorted({*self.accounts, *(_hash(self.salt, name) for name in accounts)})),
            tuple(sorted({*self.servers, *(_hash(self.salt, name) for name in servers)})),
        )


class ForgottenList:
    """The list in the bucket."""

    def __init__(
        self,
        layout: Layout,
        connection: duckdb.DuckDBPyConnection,
        list_files: ListFiles,
        salt: str,
    ) -> None:
        self._layout, self._connection = layout, connection
        self._list_files, self._salt = list_files, salt
        self._listed_at = -_FRESH_SECONDS
        self._etag: str | None = None
        self._known = Forgotten(salt)

    def current(self) -> Forgotten:
        """Return the list as of the last seconds.

        Raises SettingsError if there is one and no salt to apply it with.
        """
        if time.monotonic() - self._listed_at < _FRESH_SECONDS:
            return self._known
        path = self._layout.forgotten()
        etag = next((file.etag for file in self._list_files(path) if file.path == path), None)
        if etag != self._etag:
            self._known = Forgotten(self._salt) if etag is None else self._read(path)
            self._etag = etag
        if self._known and not self._salt:
            raise SettingsError(
                f"{path} lists people who asked to be forgotten, and PERSON_SALT, by which they are"
                " recognised, is not set: set it to the lake's salt (.data/stack.env has it)"
            )
        self._listed_at = time.monotonic()
        return self._known

    def expire(self) -> None:
        """List the file again next time."""
        self._listed_at = -_FRESH_SECONDS

    def prepare(self) -> None:
        """Define the macros that queries with the list's parameters use."""
        self._connection.execute(query("lake/forgetting_macros"))

    def _read(self, path: str) -> Forgotten:
        rows = self._connection.execute(query("lake/forgotten"), {"file": path}).fetchall()
        return Forgotten(
            self._salt,
            tuple(hashed for kind, hashed in rows if kind == "account"),
            tuple(hashed for kind, hashed in rows if kind == "server"),
        )


def _hash(salt: str, name: str) -> str:
    # As `pseudonym` in listening.records.people and in SQL.
    return f"~{sha256(f'{salt}:{name}'.encode()).hexdigest()[:20]}"
