"""Builds small hours within the sensor's tick, in the code server, which has everything in memory.

A run costs seconds of a core before it reads a byte: a process, imports, Dagster's events. At rest
the running hour changes with each commit of the sink, for a few dozen toots; so its tables are
built here. They are built whole, from all that has landed of the hour, and checked like any other,
with local copies of what was read or written before (`lake.copies`, `lake.written`). Reported as
materialisations without a run are the first build of an hour, a change of a check's outcome, and
one every few minutes: each stays in Dagster's storage for good.

Left to runs is what is not small, or of more than a few past hours; what has failed here or in a
run; and once over, each hour once more, recounted from the landed files themselves.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import dagster as dg

from mastodon_pipeline.check_events import check_event
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.asset_checks import check_result
from mastodon_pipeline.usage.assets import build_metadata
from mastodon_pipeline.usage.partition_keys import HOUR_KEY
from mastodon_pipeline.usage.refreshing.freshness import HOUR, Freshness
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline.usage.tables.table import BuiltPartition, Table

CLOSING = timedelta(minutes=3)
"""How long after its end an hour still counts as running: its last toots land meanwhile."""
MAX_PAST_HOURS = 2
"""More than these are a backlog, which runs work off."""
MAX_BYTES = 32_000_000
"""Of an hour's landed files: 300,000 toots, which take some 3 s of a core to build and check."""
MAX_SECONDS = 20.0
"""After these no further hour is begun: a tick that takes a minute counts as failed."""
SHARE = 1 / 120
"""Of the time, at most, that is spent on an hour: after a build that took 0.2 s it rests for 24."""
LONGEST_PAUSE_SECONDS = 30.0
PAST_PAUSE_A_FILE, LONGEST_PAST_PAUSE = timedelta(seconds=3), timedelta(minutes=5)
"""Between builds of an hour that is over, each of which reads all its files for a late toot."""
REPORT_SECONDS = 600.0
"""Between reports of an hour: a report takes some 10 kB in Dagster's storage."""

Event = dg.AssetMaterialization | dg.AssetCheckEvaluation


@dataclass(slots=True)
class InTick:
    """What a tick has built, and what needs no run now."""

    built: list[datetime] = field(default_factory=list)
    waiting: dict[datetime, str] = field(default_factory=dict)
    """Hours that were built here shortly before, and why they wait."""
    events: list[Event] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    """Lines about builds that failed: a run will show more."""


@dataclass(frozen=True, slots=True)
class _Report:
    at: float
    passed: tuple[bool, ...]


def is_over(hour: datetime, now: datetime) -> bool:
    """Return whether an hour is over, and what belongs to it has landed."""
    return hour + HOUR + CLOSING <= now


def past_pause(freshness: Freshness, hour: datetime) -> timedelta:
    """Return the time between two builds of an hour that is over."""
    files = len(freshness.landed.get(hour, ()))
    return min(files * PAST_PAUSE_A_FILE, LONGEST_PAST_PAUSE)


def _small(lake: Lake, freshness: Freshness, now: datetime) -> Iterator[datetime]:
    """Yield the stale hours that may be built in a tick, oldest first."""
    past = [hour for hour in freshness.stale_hours if is_over(hour, now)]
    backlog = len(past) if len(past) > MAX_PAST_HOURS else 0
    for hour in freshness.stale_hours[backlog:]:
        landed = freshness.landed.get(hour, ())
        removed = lake.parquet_files(lake.layout.removed_hour(hour))
        if not removed and sum(file.size for file in landed) <= MAX_BYTES:
            yield hour


class HourBuilder:
    """Builds hours in a process, and remembers when it did."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due: dict[datetime, float] = {}
        self._reports: dict[tuple[str, datetime], _Report] = {}

    def build(
        self, lake: Lake, freshness: Freshness, now: datetime, is_free: Callable[[datetime], bool]
    ) -> InTick:
        """Build the stale hours that are small and due. `now`: UTC.

        `is_free`: whether no run builds an hour now, and none has failed to.
        """
        tick = InTick()
        hours = [hour for hour in _small(lake, freshness, now) if is_free(hour)]
        began = self._clock()
        with lake.copies.in_use(), lake.written.in_use():
            for hour in hours:
                if (start := self._clock()) < self._due.get(hour, start):
                    tick.waiting[hour] = f"{hour:%H:%M} UTC was built just now"
                elif start - began < MAX_SECONDS:
                    self._build(lake, hour, tick)
                    end = self._clock()
                    pause = min((end - start) / SHARE, LONGEST_PAUSE_SECONDS)
                    if is_over(hour, now):
                        pause = past_pause(freshness, hour).total_seconds()
                    self._due[hour] = end + pause
        self._forget(now)
        return tick

    def _build(self, lake: Lake, hour: datetime, tick: InTick) -> None:
        try:
            for table in HOURLY_TABLES:
                built = table.build(lake, hour)
                tick.events += self._report(lake, table, hour, built)
        except Exception as error:  # of whatever kind: the hour is left to a run
            tick.failures.append(f"{hour:%Y-%m-%d %H:%M} UTC could not be built here: {error}")
        else:
            tick.built.append(hour)

    def _report(
        self, lake: Lake, table: Table[datetime], hour: datetime, built: BuiltPartition
    ) -> Iterator[Event]:
        """Check the table; yield what Dagster is to know, if it is due or has changed."""
        results = [
            check_result(
                check.name, check.find_faults(lake, table.name, [hour]), warn_only=check.warn_only
            )
            for check in table.checks
        ]
        passed, now = tuple(result.passed for result in results), self._clock()
        last = self._reports.get((table.name, hour))
        if last is not None and last.passed == passed and now < last.at + REPORT_SECONDS:
            return
        self._reports[table.name, hour] = _Report(now, passed)
        yield dg.AssetMaterialization(
            table.name,
            partition=hour.strftime(HOUR_KEY),
            metadata=build_metadata(lake, table, built),
        )
        for result in results:
            check = dg.AssetCheckKey(dg.AssetKey(table.name), f"{result.check_name}")
            yield check_event(result, check)

    def _forget(self, now: datetime) -> None:
        clock = self._clock()
        self._due = {hour: due for hour, due in self._due.items() if due > clock}
        self._reports = {
            key: report
            for key, report in self._reports.items()
            if report.at + REPORT_SECONDS > clock or key[1] + 2 * HOUR > now
        }
