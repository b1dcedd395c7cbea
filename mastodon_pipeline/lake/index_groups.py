"""The stored index of landed files: an object for each day of arrival, a group.

A group is loaded into the connection's table `landed_file` before any of its rows is used, and
saved after they have changed. What is in memory never outweighs the store: a group that another
process has saved since is unloaded. The rows themselves are the business of `landed`.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb

from mastodon_pipeline.lake.contents import is_of_the_store
from mastodon_pipeline.lake.files import ListFiles, StoredFile
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query

SAVE_EVERY_FILES = 20
"""So many new files of the newest group are opened again rather than saved: writing the index of a
whole day for each commit of the sink would cost more."""
LOAD_ATTEMPTS = 3
CLOCK_MARGIN = timedelta(days=1)
DAY_FOLDERS = ("created_at_hour=", "kafka_timestamp_day=")
"""How the names of folders begin that sort by time: those of the sinks, before and since
2026-11-26."""
ALL_HOURS = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
_SPANS: dict[str, tuple[str, tuple[datetime, datetime] | None]] = {}
"""By path of an object: its etag, and the first and last hour in that version, None if it has no
hour."""


class IndexGroups:
    """Loads groups of the index into the connection's table, and saves them."""

    def __init__(
        self, layout: Layout, connection: duckdb.DuckDBPyConnection, list_files: ListFiles
    ) -> None:
        self._layout, self._connection = layout, connection
        self._list_files = list_files
        self._objects: dict[str, StoredFile] = {}
        """The index's objects by group, as last listed."""
        self.loaded: dict[str, str] = {}
        """The groups in the table, and the etag of the object that each was loaded from."""
        self._unsaved: dict[str, int] = {}
        """How many of a group's files have changed since it was saved."""
        self.read_only = False
        """Whether nothing is saved."""

    @property
    def stored_bytes(self) -> int:
        """The size of the whole index, as last listed."""
        return sum(file.size for file in self._objects.values())

    def list_objects(self) -> None:
        """List the index's objects; unload the groups that another process has saved since.

        Raises ObjectStoreUnavailable if the object store does not answer, or refuses.
        """
        if not self.loaded and not self._unsaved:
            self._connection.execute(query("lake/landed_file"))
        prefix = self._layout.landed_index()
        self._objects = {
            file.path.removeprefix(prefix).removesuffix(".parquet"): file
            for file in self._list_files(prefix)
        }
        for group, etag in list(self.loaded.items()):
            stored = self._objects.get(group)
            if group not in self._unsaved and stored is not None and stored.etag != etag:
                self._unload(group)  # another process knows more by now

    def known(self) -> set[str]:
        """Return the groups that are stored or loaded."""
        return self._objects.keys() | self.loaded.keys()

    def newest(self, now: datetime) -> str:
        """Return the group of the newest day of arrival that is not in the future; '' for none."""
        latest = f"{now + CLOCK_MARGIN:%Y-%m-%d}"
        days = (group for group in self.known() if group.startswith(DAY_FOLDERS))
        return max((group for group in days if group[-10:] <= latest), default="")

    def of_day(self, day: date) -> str:
        """Return the group of a day of arrival."""
        return self._layout.index_group(f"{self._layout.landed_day(day)}_")

    def unloaded(self, since: datetime | None = None) -> list[str]:
        """Return the paths of the objects that are not loaded.

        With `since`, of those that may have been saved at that moment (UTC) or later; without,
        those of removed files are left out.
        """
        return [
            file.path
            for group, file in self._objects.items()
            if group not in self.loaded
            and (
                not group.startswith("removed=")
                if since is None
                else file.modified + CLOCK_MARGIN >= since
            )
        ]

    def unloaded_with(self, hours: Collection[datetime]) -> list[str]:
        """Return the paths of the objects that are not loaded and may hold one of these hours.

        A process reads each version of an object once, to know its first and last hour: years have
        a thousand of them, and a sensor asks for the running hour every ten seconds.

        Raises duckdb.Error if an object is damaged or gone, or the object store failed.
        """
        etags = {file.path: file.etag for file in self._objects.values()}
        unloaded = self.unloaded()
        unread = [path for path in unloaded if _SPANS.get(path, ("",))[0] != etags[path]]
        if unread:
            statement = query("lake/spans_of_index")
            rows = self._connection.execute(statement, {"files": unread}).fetchall()
            spans = {path: (first, last) if first else None for path, first, last in rows}
            _SPANS.update({path: (etags[path], spans.get(path, ALL_HOURS)) for path in unread})
        wanted = sorted(hours)

        def may_hold(span: tuple[datetime, datetime] | None) -> bool:
            """Return whether one of the hours is in the span, if there is any."""
            return span is not None and bisect_left(wanted, span[0]) < bisect_right(wanted, span[1])

        return [path for path in unloaded if may_hold(_SPANS[path][1])]

    def load(self, group: str) -> None:
        """Load a group into the table, unless it is loaded.

        One that is damaged, or from another version of this code, is made again. Raises
        duckdb.Error if the object store failed repeatedly.
        """
        if group in self.loaded:
            return
        for attempts_left in reversed(range(LOAD_ATTEMPTS)):
            stored = self._objects.get(group)
            self.loaded[group] = "" if stored is None else stored.etag
            if stored is None:
                return
            try:
                values = {"group": group, "file": stored.path}
                self._connection.execute(query("lake/load_landed_files"), values)
            except (duckdb.Error, UnicodeDecodeError) as error:
                if isinstance(error, duckdb.Error) and not is_of_the_store(error):
                    return  # damaged
                # The store failed, or another process replaced it just now.
                if not attempts_left:
                    raise
                self._list_group(group)
            else:
                return

    def count_unsaved(self, group: str, changed: int) -> None:
        """Note that rows of `changed` files of the group have changed in the table."""
        if changed:
            self._unsaved[group] = self._unsaved.get(group, 0) + changed

    def save_some(self, newest: str, *, retried: bool = False) -> None:
        """Save the groups that have changed; the newest only after many changes, or `retried`."""
        for group, count in list(self._unsaved.items()):
            if group != newest or count >= SAVE_EVERY_FILES or retried:
                self.save(group)

    def save(self, group: str) -> None:
        """Save a group's rows, unless the index is read only."""
        if self.read_only:
            return
        path = f"{self._layout.landed_index()}{group}.parquet"
        if "://" not in path:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        values = {"group": group, "path": path}
        self._connection.execute(query("lake/save_landed_files"), values)
        self._unsaved.pop(group, None)
        self._list_group(group)
        self.loaded[group] = self._objects[group].etag if group in self._objects else ""

    def _list_group(self, group: str) -> None:
        path = f"{self._layout.landed_index()}{group}.parquet"
        stored = next((file for file in self._list_files(path) if file.path == path), None)
        if stored is None:
            self._objects.pop(group, None)
        else:
            self._objects[group] = stored

    def _unload(self, group: str) -> None:
        del self.loaded[group]
        self._unsaved.pop(group, None)
        self._connection.execute("DELETE FROM landed_file WHERE group_name = ?", [group])
