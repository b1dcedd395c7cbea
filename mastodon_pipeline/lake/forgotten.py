"""Who asked to be forgotten, and until when nobody is named: with the lake's salt.

The list names nobody to whoever has the bucket alone, and without the salt it cannot be applied:
a lake with such a list is built neither without it nor with another one. It only grows.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

import duckdb

from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.lake.files import ListFiles
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query

_FRESH_SECONDS = 5.0
"""How long a listing of the list's file counts: a build of many hours asks for each."""
_SALT, _UNTIL, _BUILT = "salt", "persons until", "built until"
_REWRITTEN, _FILES = "rewritten until", "files until"


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Whose records are nameless."""

    salt: str = ""
    accounts: tuple[str, ...] = ()
    """Pseudonyms of `user@server`, see `pseudonym` in `lake/sql`."""
    servers: tuple[str, ...] = ()
    persons_until: datetime | None = None
    """Whatever was posted before this is nameless, a day's begin in UTC; None: nothing is."""
    built_until: datetime | None = None
    """Up to where maintenance has built the days before `persons_until` again."""
    rewritten_until: datetime | None = None
    """Up to where it has finished with them, and with the landed files."""
    files_until: datetime | None = None
    """When the newest landed file was written that it had listed by then, UTC."""

    def __bool__(self) -> bool:
        return bool(self.accounts or self.servers or self.persons_until)

    @property
    def parameters(self) -> dict[str, object]:
        """The query's parameters."""
        return {**self.name_parameters, "persons_until": self.persons_until}

    @property
    def name_parameters(self) -> dict[str, object]:
        """Those of a query for who asked to be forgotten."""
        return {
            "salt": self.salt,
            "accounts": list(self.accounts),
            "servers": list(self.servers),
        }

    @property
    def names(self) -> "Forgotten":
        """Those who asked for it, without everybody else."""
        return Forgotten(self.salt, self.accounts, self.servers)

    def is_past_retention(self, hour: datetime) -> bool:
        """Return whether nobody is named in this hour (its start, UTC)."""
        return self.persons_until is not None and hour < self.persons_until

    def concerns(self, hour: datetime) -> bool:
        """Return whether records of this hour (its start, UTC) may be others than what landed.

        So are those of the first hour that names people, for the sake of the hour before it.
        """
        if self.accounts or self.servers:
            return True
        return self.persons_until is not None and hour <= self.persons_until

    def with_names(self, accounts: Sequence[str] = (), servers: Sequence[str] = ()) -> "Forgotten":
        """Return the list with these names in addition: `user@server` in lower case, servers."""
        return replace(
            self,
            accounts=tuple(
                sorted({*self.accounts, *(_hash(self.salt, name) for name in accounts)})
            ),
            servers=tuple(sorted({*self.servers, *(_hash(self.salt, name) for name in servers)})),
        )

    @property
    def file_values(self) -> dict[str, object]:
        """The parameters of `lake/save_forgotten`, but for the path."""
        times = {
            _UNTIL: self.persons_until,
            _BUILT: self.built_until,
            _REWRITTEN: self.rewritten_until,
            _FILES: self.files_until,
        }
        others = {kind: at.isoformat() for kind, at in times.items() if at is not None}
        others[_SALT] = _hash(self.salt, "salt")
        return {
            "accounts": list(self.accounts),
            "servers": list(self.servers),
            "kinds": list(others),
            "contents": list(others.values()),
        }


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

        Raises SettingsError if there is one and no salt to apply it with, or another one.
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
        others = {kind: content for kind, content in rows if kind not in ("account", "server")}
        if self._salt and others.get(_SALT, _hash(self._salt, "salt")) != _hash(self._salt, "salt"):
            raise SettingsError(
                f"PERSON_SALT is another than the one that {path} was made with: set it to the"
                " lake's salt (.data/stack.env of the machine that wrote it has it); with another"
                " one nobody is recognised, and toots count twice"
            )
        return Forgotten(
            self._salt,
            tuple(content for kind, content in rows if kind == "account"),
            tuple(content for kind, content in rows if kind == "server"),
            _time(others, _UNTIL),
            _time(others, _BUILT),
            _time(others, _REWRITTEN),
            _time(others, _FILES),
        )


def _time(others: Mapping[str, str], kind: str) -> datetime | None:
    return datetime.fromisoformat(others[kind]) if kind in others else None


def _hash(salt: str, name: str) -> str:
    # As `pseudonym` in listening.records.people and in SQL.
    return f"~{sha256(f'{salt}:{name}'.encode()).hexdigest()[:20]}"
