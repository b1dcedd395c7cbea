"""The landed files, indexed by content: which post hours each holds, and which Kafka offsets.

One rule for all readers: any Parquet file below `topics/<topic>/` may hold records of any post
hour. Its folder says when Kafka took them, or nothing at all: nothing that a stranger claims
decides where a record lands. So what a file holds is read from it, once, and remembered below
`index/<topic>/files/`, in an object for each day of arrival (`Layout.index_group`).

The index can be lost without harm, and misleads nobody for long:

* It never outweighs a listing: a file that is listed in another version than the indexed one is
  opened again, and one that is listed no more is forgotten.
* What is listed: a small lake whole, each time. Of a large one the newest day of arrival and what
  follows it, where new files appear; the rest by `sweep`, piece by piece, and by whole refreshes.
* Two processes that save at once lose rows of one of them: these files are opened once more.
* A file that cannot be read, or that the sink did not write, is in the index with its error. It
  belongs to no hour, and stops nothing. Whole refreshes try it again.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from functools import partial
from itertools import groupby
from time import monotonic
from typing import Any, NamedTuple

import duckdb

from mastodon_pipeline.lake.contents import FOREIGN, Contents, is_of_the_store
from mastodon_pipeline.lake.day_listings import DayListings
from mastodon_pipeline.lake.files import ListFiles, StoredFile
from mastodon_pipeline.lake.index_groups import DAY_FOLDERS, IndexGroups
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query

SMALL_INDEX_BYTES = 500_000
"""A lake whose index is smaller, some 5,000 files, is listed whole: a few requests."""
FILES_PER_QUERY = 500
HELD_SECONDS = 10.0
NO_FOLDER = "_"
"""The group of files directly below the topic's folder."""


class Refreshed(NamedTuple):
    """What a refresh did."""

    opened: int
    """Files."""
    forgotten: int
    """Files that are no longer there."""
    whole: bool = False
    """All landed files were listed, or had been shortly before: there is nothing to sweep."""


class IndexedHour(NamedTuple):
    """What files hold of a post hour."""

    indexed_at: datetime
    """When the last of the files was opened, UTC."""
    records: int
    """Duplicates included."""
    vouched: int
    """Those of the records that were read within a month of the hour, or brought by a person."""


class UnreadableFile(NamedTuple):
    """A file below the topic's folder that is damaged, or foreign: without records of ours."""

    path: str
    reason: str
    """One line."""

    @property
    def is_foreign(self) -> bool:
        """Whether it can be read, and its rows are no records of ours."""
        return FOREIGN in self.reason


class LandedFiles:
    """The landed files of a lake, in its connection's table `landed_file`.

    A row for each file and post hour: `path`, `etag`, `size`, `modified`; `indexed_at`, when the
    file was opened; `error`, if it could not be read; `hour`, null for records without a plausible
    post time; `rows`, duplicates included, and those `vouched` for; and `ranges`, the offsets of
    the whole file, in one of its rows.
    """

    def __init__(
        self,
        layout: Layout,
        connection: duckdb.DuckDBPyConnection,
        list_files: ListFiles,
        empty_record: str,
    ) -> None:
        self._layout, self._connection = layout, connection
        self._list_files = list_files
        self._contents = Contents(connection, list_files, empty_record)
        self._groups = IndexGroups(layout, connection, list_files)
        self._receipts = DayListings(list_files)
        self._held = False
        self._refreshed_at = -HELD_SECONDS
        self._complete_at: float | None = None
        self.complete_every_seconds = 0.0
        """So long after a complete refresh, another one lists only the files whose names follow the
        newest that is known, as those of the sink do: for a lake that stays open. A day of commits
        is nine requests, each as expensive as a small query."""
        self.clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def read_only(self) -> bool:
        """Nothing is saved: for readers, whose keys may only read."""
        return self._groups.read_only

    @read_only.setter
    def read_only(self, read_only: bool) -> None:
        self._groups.read_only = read_only

    @property
    def loaded_groups(self) -> int:
        """How many groups of the index are in the connection's memory."""
        return len(self._groups.loaded)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Refresh every ten seconds at most within the body: for a run that builds many hours.

        Files that land meanwhile leave their hours stale, as if they had landed afterwards.
        """
        self._held = True
        self.expire()
        try:
            with self._receipts.in_use():
                yield
        finally:
            self._held = False

    def expire(self) -> None:
        """Let the next refresh list again, though it is `held`."""
        self._refreshed_at = -HELD_SECONDS

    def refresh(self, *, whole: bool = False, since: date | None = None) -> Refreshed:
        """List the landed files, and open those that are new: the newest ones, or with `whole` all.

        With `since`, those of the days of arrival from it on, though another is the newest.

        Raises:
            ObjectStoreUnavailable: the object store does not answer, or refuses.
            duckdb.Error: the object store failed while a file was read.
        """
        if self._held and monotonic() - self._refreshed_at < HELD_SECONDS:
            return Refreshed(0, 0)
        self._refreshed_at = monotonic()
        self._receipts.expire()  # They may never be older than the listing of the files.
        self._groups.list_objects()
        began, complete_at = monotonic(), self._complete_at
        if not whole and complete_at and began - complete_at < self.complete_every_seconds:
            return self._open_newest()
        if whole or self._groups.stored_bytes < SMALL_INDEX_BYTES:
            refreshed = self._sync_from("", None, retry=whole)[0]
        else:
            newest = self._newest_group()
            first = newest if since is None else self._groups.of_day(since)
            refreshed = self._sync_from(min(newest, first), None)[0]
        self._complete_at = began
        return refreshed

    def sweep(self, after: str, seconds: float) -> tuple[Refreshed, str]:
        """List and open a piece, from the group after `after` on, for some seconds.

        Return the last group of it, '' at the end. At least one group is listed.
        """
        self._groups.list_objects()
        return self._sync_from(f"{after}~" if after else "", monotonic() + seconds)

    def of_hours(self, hours: Collection[datetime]) -> dict[datetime, tuple[StoredFile, ...]]:
        """Return, by hour, the files that hold records of these hours (their starts, UTC).

        In the order of their paths; hours without files are left out. As of the last refresh.
        """
        if not hours:
            return {}
        by_hour: dict[datetime, dict[str, StoredFile]] = {}
        values = {"first": min(hours), "last": max(hours), "hours": list(hours)}
        unloaded = partial(self._groups.unloaded_with, hours)
        for row in self._query("landed_of_hours", values, unloaded):
            by_hour.setdefault(row[0], {})[row[1]] = StoredFile(*row[1:])
        return {
            hour: tuple(files[path] for path in sorted(files))
            for hour, files in sorted(by_hour.items())
        }

    def of_hour(self, hour: datetime) -> tuple[StoredFile, ...]:
        """Return the files that hold records of this hour (its start, UTC), as listed now."""
        self.refresh()
        return self.of_hours([hour]).get(hour, ())

    def has_receipts(self, hour: datetime) -> bool:
        """Return whether landed files of this hour (its start, UTC) were removed, or are to be.

        As of the last refresh or later.
        """
        return any(map(_is_parquet, self._receipts.below(self._layout.removed_hour(hour))))

    def count_records(self, hour: datetime) -> int:
        """Return how many records of this hour (its start, UTC) have landed, duplicates included.

        As of the last refresh.
        """
        unloaded = partial(self._groups.unloaded_with, [hour])
        return sum(int(count) for (count,) in self._query("landed_count", {"hour": hour}, unloaded))

    def hours_indexed_since(self, moment: datetime) -> dict[datetime | None, IndexedHour]:
        """Return what the files that were opened at `moment` (UTC) or later hold, by hour.

        None: records without a plausible hour.
        """
        changed = partial(self._groups.unloaded, moment)
        hours: dict[datetime | None, IndexedHour] = {}
        for hour, *row in self._query("landed_since", {"moment": moment}, changed):
            more = IndexedHour(*row)
            known = hours.get(hour, IndexedHour(more.indexed_at, 0, 0))
            hours[hour] = IndexedHour(
                max(known.indexed_at, more.indexed_at),
                known.records + more.records,
                known.vouched + more.vouched,
            )
        return hours

    def unreadable(self) -> tuple[UnreadableFile, ...]:
        """Return the landed files that cannot be read, after a whole refresh."""
        rows = self._connection.execute(query("lake/landed_unreadable")).fetchall()
        return tuple(UnreadableFile(*row) for row in rows)

    def mark_unreadable(self, paths: Iterable[str]) -> tuple[UnreadableFile, ...]:
        """Read these files whole; remember those that cannot be, and return them.

        A file's index needs few of its columns, so damage in the others shows when it is used.
        """
        faults = []
        for path in paths:
            group = self._layout.index_group(path)
            self._groups.load(group)
            if (reason := self._contents.damage(path)) is not None:
                faults.append(UnreadableFile(path, reason))
        for fault in faults:
            self._connection.execute(query("lake/landed_mark_unreadable"), fault._asdict())
            self._groups.save(self._layout.index_group(fault.path))
        return tuple(faults)

    def forget(self, paths: Collection[str]) -> None:
        """Forget files that are about to be removed, or were."""
        groups = sorted({self._layout.index_group(path) for path in paths})
        for group in groups:
            self._groups.load(group)
        self._connection.execute(query("lake/landed_forget"), {"paths": list(paths)})
        for group in groups:
            self._groups.save(group)

    def _newest_group(self) -> str:
        return self._groups.newest(self.clock())

    def _sync_from(
        self, first: str, deadline: float | None, *, retry: bool = False
    ) -> tuple[Refreshed, str]:
        """Make the table agree with a listing of all groups from `first` on, until the deadline."""
        landed, whole = self._layout.landed(), not first and deadline is None
        opened = forgotten = 0
        seen: set[str] = set()
        roots: list[StoredFile] = []
        last = ""

        def sync(group: str, files: Sequence[StoredFile]) -> None:
            nonlocal opened, forgotten
            result = self._sync(group, files, retry=retry)
            opened, forgotten = opened + result.opened, forgotten + result.forgotten
            seen.add(group)

        listing = (file for file in self._list_files(landed, landed + first) if _is_parquet(file))
        for last, files in groupby(listing, lambda file: self._layout.index_group(file.path)):
            if last == NO_FOLDER:  # they sort between the folders
                roots += files
                continue
            sync(last, list(files))
            if deadline is not None and monotonic() >= deadline:
                break
        else:
            last = ""
        if whole:
            receipts = filter(_is_parquet, self._list_files(self._layout.removed()))
            for group, files in groupby(receipts, lambda f: self._layout.index_group(f.path)):
                sync(group, list(files))
            sync(NO_FOLDER, roots)
        for group in sorted(self._groups.known() - seen):
            listed = group.startswith(DAY_FOLDERS) and first <= group and (not last or group < last)
            if whole or listed:
                sync(group, [])
        self._groups.save_some(self._newest_group(), retried=retry)
        return Refreshed(opened, forgotten, whole), last

    def _open_newest(self) -> Refreshed:
        """Open the files whose names follow the newest known one of the newest group."""
        newest = self._newest_group()
        self._groups.load(newest)
        after = max(self._known(newest), default=f"{self._layout.landed()}{newest}")
        listing = (file for file in self._list_files(self._layout.landed(), after))
        opened = 0
        for group, files in groupby(
            filter(_is_parquet, listing), lambda file: self._layout.index_group(file.path)
        ):
            if group == newest:
                opened += len(self._open(group, list(files)))
            elif group != NO_FOLDER:
                opened += self._sync(group, list(files)).opened
        self._groups.save_some(newest)
        return Refreshed(opened, 0, whole=True)

    def _known(self, group: str) -> set[str]:
        rows = self._connection.execute(query("lake/landed_paths"), {"group": group}).fetchall()
        return {path for (path,) in rows}

    def _open(self, group: str, files: Sequence[StoredFile]) -> list[StoredFile]:
        """Open the files that are not in the table; return them."""
        known = self._known(group)
        new = [file for file in files if file.path not in known]
        for start in range(0, len(new), FILES_PER_QUERY):
            self._contents.open(group, new[start : start + FILES_PER_QUERY], self.clock())
        self._groups.count_unsaved(group, len(new))
        return new

    def _sync(self, group: str, listed: Sequence[StoredFile], *, retry: bool = False) -> Refreshed:
        """Make the table agree with the complete listing of a group."""
        self._groups.load(group)
        values = {
            "group": group,
            "paths": [file.path for file in listed],
            "etags": [file.etag for file in listed],
            "retry": retry,
        }
        unreadable = {file.path for file in self.unreadable()} if retry else set()
        forgotten = self._connection.execute(query("lake/landed_vanished"), values).fetchall()
        new = self._open(group, listed)
        # Damage in other columns than the index's shows only if a file is read whole.
        self.mark_unreadable(file.path for file in new if file.path in unreadable)
        gone = {path for (path,) in forgotten} - {file.path for file in new}
        self._groups.count_unsaved(group, len(gone))
        return Refreshed(len(new), len(gone - {file.path for file in listed}))

    def _query(
        self, name: str, values: Mapping[str, object], unloaded: Callable[[], Sequence[str]]
    ) -> list[tuple[Any, ...]]:
        """Return the rows of a query of the table, and of the index's objects not loaded into it.

        If one of these is damaged or gone, the index is refreshed whole and asked again.
        """
        # The query's text names the table once; a file is read in its place.
        text = query(f"lake/{name}")
        values = {**values, "landed": self._layout.landed()}
        rows = self._connection.execute(text, values).fetchall()
        of_files = text.replace(
            "FROM landed_file", "FROM read_parquet($unloaded, hive_partitioning := false)"
        )
        try:
            if files := unloaded():
                rows += self._connection.execute(of_files, {**values, "unloaded": files}).fetchall()
            return rows
        except duckdb.Error as error:
            if is_of_the_store(error):
                raise
            self._groups.list_objects()
            self._sync_from("", None)
            return self._connection.execute(text, values).fetchall()


def _is_parquet(file: StoredFile) -> bool:
    return file.path.endswith(".parquet")
