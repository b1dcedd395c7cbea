"""The hours that are behind what was acknowledged, brought up to it: a consistent cut.

**What is counted.** Every record that Kafka had acknowledged when the cut began, and none twice,
though the sink lands files and runs build tables meanwhile. A record is known by its topic's id,
its partition and its offset. A toot is known by its uri: `toots.sql`, with which the tables are
built, makes one row of all records of a toot, however often it gets one. So a record may be read
from two places, and must be read from one. The order of the readings sees to that:

1. how far the sink has committed, and then where the topic ends (`sink_progress`);
2. the tail, from the one to the other; what is acknowledged later is the next cut's;
3. the landed files. What the sink had committed at 1 was in a complete file by then, so it is in
   this listing; what it has landed since is in the tail as well;
4. the tables, each with the fingerprint of the landed files that it was built from. If a table was
   built from files that are not in the listing, the files are listed again. If it is replaced
   later, before the query reads it, it has more records, never fewer.

A topic that was made again has another id: then the tail starts over. The id is asked for before
and after the tail is read.

**Which hours.** An hour is behind if its table's fingerprint is not that of the hour's landed
files, or if the tail has records of it. How it is brought up to date: `making`.

**What is not counted**, as in the tables: hours before their first day (`usage.first_day`), and
those that have not begun.
Of an hour that is behind, though no file of it was landed for `WINDOW`, what its tables hold is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from mastodon_pipeline.errors import RecordsGone
from mastodon_pipeline.lake.files import fingerprint
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.landed import IndexedHour
from mastodon_pipeline.usage.first_day import begin_with, first_day_of, oldest_vouched
from mastodon_pipeline.usage.inputs.clock_skew import HOUR
from mastodon_pipeline.usage.live.making import HourInputs, HourMaker, LiveHour
from mastodon_pipeline.usage.live.tail import Tail, TailState
from mastodon_pipeline.usage.tables.hourly import TOOTS, TOOTS_PER_SERVER_PER_HOUR

WINDOW = timedelta(days=2)
"""Hours are compared with their tables if a file of theirs was landed within this time."""
MAX_HOURS = 48
"""Hours that a cut brings up to date, the newest: a tenth of a second each."""
REMOVED_AFTER = timedelta(days=1)
"""Landed files of younger hours are never removed (`maintenance`)."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The lake and the topic at one moment."""

    hours: Mapping[datetime, LiveHour]
    """Those that are behind."""
    days: Mapping[date, object]
    """The days of hours that have changed lately, with what changes when more of them lands."""
    notes: tuple[str, ...] = ()
    """What is not counted though it should be, a line each."""


class LiveHours:
    """Takes cuts; what did not change from one to the next is kept."""

    def __init__(
        self,
        lake: Lake,
        tail: Tail,
        earliest: date,
        directory: Path,
        max_hours: int = MAX_HOURS,
    ) -> None:
        self._lake, self._tail = lake, tail
        self._earliest = earliest
        self._first_day: date | None = None
        """The tables begin with it (`usage.first_day`): it is never later than it was."""
        self._max_hours = max_hours
        self._current: dict[datetime, object] = {}
        """Hours whose tables were seen to be current, and what had landed of them by then."""
        self._maker = HourMaker(lake, directory)
        self._listed = False

    def take(self) -> Cut:
        """Take a cut, as the module says.

        Raises:
            KafkaUnavailable, RegistryUnavailable: the tail cannot be read.
            ObjectStoreUnavailable: the object store does not answer, or refuses.
            duckdb.Error: the object store failed while a file was read.
        """
        now = self._lake.landed.clock()
        tail = self._tail.advance()
        self._refresh(tail, now)
        changed = self._changed(tail, now)
        hours = self._behind(changed, tail.hours, now)
        if any(inputs.is_newer() for inputs in hours.values()):
            self._refresh(tail, now)
            changed = self._changed(tail, now)
            hours = self._behind(changed, tail.hours, now)
        left_out = sorted(hours)[: -self._max_hours]
        notes = _notes(tail.behind, left_out)
        made: dict[datetime, LiveHour] = {}
        for hour in sorted(set(hours) - set(left_out)):
            tail_records, previous = tail.hours.get(hour), made.get(hour - HOUR)
            try:
                made[hour] = self._maker.make(hour, hours[hour], tail_records, previous)
            except RecordsGone as error:
                notes.append(str(error))
        self._maker.forget_all_but(made)
        return Cut(made, _days(changed), tuple(notes))

    def new_file(self) -> str:
        """Return the path of a new local file beside those of the hours."""
        return self._maker.new_file()

    def _refresh(self, tail: TailState, now: datetime) -> None:
        # A record lands in the folder of the day on which Kafka took it, also after midnight.
        since = tail.landed_since
        if not self._listed:
            since = min(since or now.date(), (now - timedelta(days=1)).date())
        self._lake.landed.refresh(whole=tail.unknown_landed and self._listed, since=since)
        self._listed = True

    def _changed(self, tail: TailState, now: datetime) -> dict[datetime, object]:
        """Return the hours that have changed lately, with what changes when more of them lands."""
        indexed = self._lake.landed.hours_indexed_since(now - WINDOW)
        first_hour = datetime.combine(self._begin(indexed, tail, now), time(), UTC)
        return {
            hour: indexed.get(hour)
            for hour in indexed.keys() | tail.hours.keys()
            if hour is not None and first_hour <= hour <= now
        }

    def _begin(
        self, indexed: Mapping[datetime | None, IndexedHour], tail: TailState, now: datetime
    ) -> date:
        """Return the day that the tables begin with once all has landed."""
        if self._first_day is None:
            self._first_day = first_day_of(self._lake, self._earliest, now)
        for hours in (indexed, tail.vouched):
            oldest = oldest_vouched(hours, self._earliest, now)
            if oldest is not None and oldest < self._first_day:
                self._first_day = begin_with(oldest, self._earliest, now)
        return self._first_day

    def _behind(
        self,
        changed: Mapping[datetime, object],
        tail_hours: Mapping[datetime, str],
        now: datetime,
    ) -> dict[datetime, HourInputs]:
        candidates = {
            hour
            for hour, landed in changed.items()
            if hour in tail_hours or self._current.get(hour) != landed
        }
        landed = self._lake.landed.of_hours(candidates)
        fingerprints = {hour: fingerprint(landed.get(hour, ())) for hour in candidates}
        tables = {
            file.path: file
            for day in {hour.date() for hour in candidates}
            for prefix in (
                self._lake.layout.toots_day(day),
                self._lake.layout.toots_per_server_day(day),
            )
            for file in self._lake.parquet_files(prefix)
        }
        paths = {hour: TOOTS.path(self._lake.layout, hour) for hour in candidates}
        counts = {
            hour: TOOTS_PER_SERVER_PER_HOUR.path(self._lake.layout, hour) for hour in candidates
        }
        built_from = self._lake.built_from(
            path for path in (*paths.values(), *counts.values()) if path in tables
        )
        behind = {}
        for hour in candidates:
            table, built = tables.get(paths[hour]), built_from.get(paths[hour])
            current = built == built_from.get(counts[hour]) == fingerprints[hour]
            if current and hour not in tail_hours:
                self._current[hour] = changed[hour]
                continue
            removed = hour < now - REMOVED_AFTER and bool(
                self._lake.parquet_files(self._lake.layout.removed_hour(hour))
            )
            behind[hour] = HourInputs(landed.get(hour, ()), table, built, removed)
        return behind


def _days(changed: Mapping[datetime, object]) -> dict[date, object]:
    by_day: dict[date, list[object]] = {}
    for hour in sorted(changed):
        by_day.setdefault(hour.date(), []).append((hour, changed[hour]))
    return {day: tuple(hours) for day, hours in by_day.items()}


def _notes(behind: int, left_out: Sequence[datetime]) -> list[str]:
    notes = []
    if behind:
        notes.append(
            f"the sink is so far behind that {behind:,} records of the topic are not counted"
        )
    if left_out:
        notes.append(
            f"{len(left_out)} hours are as in the tables, though more has come: they are before"
            f" {left_out[-1] + HOUR:%Y-%m-%d %H:%M} UTC"
        )
    return notes
