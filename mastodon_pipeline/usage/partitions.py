"""How the tables are partitioned: UTC hours and UTC days, from the tables' first day on.

The current hour and day are partitions too (`end_offset=1`), so the tables are current.

The first day follows the lake (`usage.first_day`). The sensor remembers it in Dagster's key-value
store, and the partitions read it there whenever Dagster asks for them: so every process has the
same ones, and the day may change without a restart. Dagster's daemon asks its code server again
once a minute, our webserver once the day has changed (`infra/webserver`); a run asks when it
starts. A partition that was materialized stays one, since the day moves back only.

Without a home of Dagster ($DAGSTER_HOME), or before the sensor has run for the first time, all days
from `FIRST_DAY` on are partitions: ten years of hours, whose listing costs some 0.7 s of CPU.

See: https://docs.dagster.io/guides/build/partitions-and-backfills/partitioning-assets
"""

import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock

import dagster as dg
from dagster._core.definitions.timestamp import TimestampWithTimezone

from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partition_keys import DAY_KEY, HOUR_KEY
from mastodon_pipeline.usage.remembered_day import READ_AGAIN_SECONDS, load_first_day
from mastodon_pipeline.usage.tables.table import Grain


class _RememberedDay:
    """Reads the first day for this process, every five seconds at most."""

    def __init__(self, earliest: date) -> None:
        self._earliest = self._day = earliest
        self._lock = Lock()
        self._read_at = -READ_AGAIN_SECONDS

    def __call__(self) -> date:
        with self._lock:
            if time.monotonic() - self._read_at >= READ_AGAIN_SECONDS:
                # A locked database must not keep the code from loading.
                with suppress(Exception):
                    self._day = self._read()
                self._read_at = time.monotonic()
            return self._day

    def expire(self) -> None:
        """Read the day again when it is next asked for."""
        self._read_at = -READ_AGAIN_SECONDS

    def _read(self) -> date:
        if not os.environ.get("DAGSTER_HOME"):
            return self._earliest
        with dg.DagsterInstance.get() as instance:
            remembered = load_first_day(instance)
        return self._earliest if remembered is None else max(self._earliest, remembered.day)


class _FromFirstDay(dg.TimeWindowPartitionsDefinition):
    """Partitions from the remembered day on: all that Dagster derives, it derives from `start`."""

    @property
    def start_ts(self) -> TimestampWithTimezone:  # type: ignore[override]  # a field of its base
        return TimestampWithTimezone(self.start.timestamp(), "UTC")

    @property
    def start(self) -> datetime:
        return datetime.combine(_first_day(), datetime.min.time(), UTC)


def _partitions(cron_schedule: str, key_format: str) -> _FromFirstDay:
    return _FromFirstDay(
        cron_schedule=cron_schedule,
        start=datetime.combine(load_settings().first_day, datetime.min.time(), UTC),
        fmt=key_format,
        end_offset=1,
        timezone="UTC",
    )


_first_day = _RememberedDay(load_settings().first_day)
hours = _partitions("0 * * * *", HOUR_KEY)
days = _partitions("0 0 * * *", DAY_KEY)

# One run builds any contiguous range: a process and its imports take as long as 40 hours do. Two
# thirds of the time of a run went into Dagster's events, four an hour, before these were written
# in batches (`mastodon_pipeline.event_log`). Dagster calls the parameter beta and warns on every
# load of the code.
single_run = dg.BackfillPolicy.single_run()
warnings.filterwarnings("ignore", "Parameter `backfill_policy`", category=dg.BetaWarning)


@dataclass(frozen=True)
class Partitioning:
    """The partitions of a grain, and how old their newest data may be."""

    definition: dg.TimeWindowPartitionsDefinition
    key_format: str
    freshness: dg.FreshnessPolicy

    def parse(self, key: str) -> datetime | date:
        """Return the partition with this key: the start of an hour (UTC), or a day."""
        start = datetime.strptime(key, self.key_format).replace(tzinfo=UTC)
        return start if self.key_format == HOUR_KEY else start.date()


PARTITIONINGS: Mapping[Grain, Partitioning] = {
    # Hourly tables follow every toot; a quiet hour is possible, three are no accident.
    Grain.HOUR: Partitioning(
        hours,
        HOUR_KEY,
        dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=1), fail_window=timedelta(hours=3)
        ),
    ),
    # A schedule builds daily tables at least once a day.
    Grain.DAY: Partitioning(
        days,
        DAY_KEY,
        dg.FreshnessPolicy.time_window(
            warn_window=timedelta(hours=25), fail_window=timedelta(hours=49)
        ),
    ),
}
