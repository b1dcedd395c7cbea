"""Listings of whole days of files, for a run that asks for one hour's files after another's.

Each question would be a request of some milliseconds, in a run that builds an hour of few toots in
thirty.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from mastodon_pipeline.lake.files import ListFiles, StoredFile

_DAY = re.compile(r".*=\d{4}-\d{2}-\d{2}(?=[-/])")
"""The beginning of a path, as far as it names a day: `.../day=2026-11-24`, or that of an hour."""


class DayListings:
    """Lists files; within `in_use` each day once, so that an answer may be as old as the body."""

    def __init__(self, list_files: ListFiles) -> None:
        self._list_files = list_files
        self._in_use = False
        self._days: dict[str, list[StoredFile]] = {}

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Remember listings within the body."""
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False
            self._days.clear()

    def expire(self) -> None:
        """List again whatever is asked for from now on."""
        self._days.clear()

    def below(self, prefix: str) -> list[StoredFile]:
        """List the files whose path starts with `prefix`, in the order of the paths."""
        day = _DAY.match(prefix)
        if day is None or not self._in_use:
            return list(self._list_files(prefix))
        if day[0] not in self._days:
            self._days[day[0]] = list(self._list_files(day[0]))
        return [file for file in self._days[day[0]] if file.path.startswith(prefix)]
