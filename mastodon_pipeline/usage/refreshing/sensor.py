"""Keeps the tables current: asks for the hours and days that are behind what has landed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile

import dagster as dg

from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partitions import DAY_KEY, HOUR_KEY
from mastodon_pipeline.usage.refreshing.freshness import (
    DAY,
    HOUR,
    Cursor,
    Freshness,
    contiguous,
    look,
)
from mastodon_pipeline.usage.refreshing.jobs import refresh_daily_usage, refresh_hourly_usage

INTERVAL_SECONDS = 10
PARTITIONS_A_RUN = 72
"""A longer range is built from its oldest end, so many at a time, and the running hour apart. Few
enough to be built before a run counts as abandoned, at 12 s an hour; many enough for the start of
a run, some 10 s with the queue, not to matter."""
PAST_RUNS_AT_ONCE = 2
"""Runs for partitions of the past, while the running hour's has the machine beside them."""
ABANDONED = timedelta(minutes=15)
"""A run that began longer ago is not waited for: after a power cut it stays STARTED for ever."""
LONGEST_PAUSE = timedelta(minutes=10)
"""Between tries, where runs keep failing: 10 s at first, then twice as long each time."""
REMEMBERED_RUNS = 50
"""How many of the last runs are looked at for failures."""
DAILY_PAUSE, DAILY_PAUSE_AT_REST = timedelta(minutes=5), timedelta(minutes=1)
"""Between builds of a day's tables and charts, while toots keep coming and once they rest."""
REST = timedelta(seconds=30)
"""So long without a new file, three of the sink's commits, is rest."""
# Dagster's documented run tags for a range of partitions in one run, and for a single one.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
PARTITION = "dagster/partition"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
_ENDED = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]


@dg.sensor(
    jobs=[refresh_hourly_usage, refresh_daily_usage],
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_toots_sensor(
    context: dg.SensorEvaluationContext, lake: LakeResource
) -> dg.SensorResult | dg.SkipReason:
    """Re-materialises the hours that got new files, late ones too, then the days they belong to.

    One run a contiguous range, never for an hour that a run on its way is to build, and with a
    growing pause where runs fail. Stopping it loses nothing: once on again, it finds what is
    behind.
    """
    now = datetime.now(UTC)
    with lake.open() as opened:
        found = look(opened, Cursor.parse(context.cursor), now, load_settings().first_day)
    for line in found.ignored:
        context.log.info(f"not counted: {line}")
    asked, waiting = requests(context.instance, found, now)
    reasons = [*waiting, *found.ignored] or ["every hour and day is current"]
    return dg.SensorResult(
        run_requests=asked,
        skip_reason=None if asked else dg.SkipReason("; ".join(reasons)),
        cursor=str(found.cursor),
    )


def requests(
    instance: dg.DagsterInstance, found: Freshness, now: datetime
) -> tuple[list[dg.RunRequest], list[str]]:
    """The runs to ask for at `now` (UTC), and for what is not asked for, why not."""
    hourly = _Refresh(instance, refresh_hourly_usage.name, HOUR, HOUR_KEY, now)
    asked, waiting = hourly.requests(found.stale_hours)
    coming = bool(found.stale_hours) or (found.newest is not None and now - found.newest < REST)
    daily = _Refresh(instance, refresh_daily_usage.name, DAY, DAY_KEY, now)
    days, waiting_days = daily.requests(
        [datetime.combine(day, time(), UTC) for day in found.stale_days],
        # While hours keep changing, a day would never come to rest: it is built now and then.
        DAILY_PAUSE if coming else DAILY_PAUSE_AT_REST,
    )
    return [*asked, *days], [*waiting, *waiting_days]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A run, and the partitions it was asked for, by their starts."""

    run_id: str
    first: datetime
    last: datetime
    succeeded: bool
    ended_at: datetime

    def covers(self, moment: datetime) -> bool:
        return self.first <= moment <= self.last


class _Refresh:
    """One of the jobs: its partitions, and the runs it has had lately."""

    def __init__(
        self,
        instance: dg.DagsterInstance,
        job_name: str,
        step: timedelta,
        key_format: str,
        now: datetime,
    ) -> None:
        self._job_name, self._step, self._key_format = job_name, step, key_format
        self._now = now
        self._unfinished = self._runs(
            instance,
            dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED, created_after=now - ABANDONED),
        )
        self._ended = self._runs(
            instance, dg.RunsFilter(job_name=job_name, statuses=_ENDED), REMEMBERED_RUNS
        )

    def requests(
        self, stale: Sequence[datetime], pause: timedelta = timedelta(0)
    ) -> tuple[list[dg.RunRequest], list[str]]:
        """A run for each contiguous range of these partitions, and why others wait.

        The newest first. What is too much at once is still stale at the next look.
        """
        reasons = {moment: self._why_to_wait(moment, pause) for moment in stale}
        due = [moment for moment, reason in reasons.items() if reason is None]
        waiting = dict.fromkeys(reason for reason in reasons.values() if reason is not None)
        newest_past = self._now - self._step
        free = PAST_RUNS_AT_ONCE - sum(run.last <= newest_past for run in self._unfinished)
        asked = []
        for first, last in self._cut(self._ranges(due)):
            if last <= newest_past:
                # An hour is built from the hour before as well, see `clamped`.
                if reason := self._on_its_way(first - self._step):
                    waiting[reason] = None
                    continue
                if free <= 0:
                    waiting[f"{self._job_name} has {PAST_RUNS_AT_ONCE} runs on their way"] = None
                    break
                free -= 1
            keys = first.strftime(self._key_format), last.strftime(self._key_format)
            tags = dict(zip((RANGE_START, RANGE_END), keys, strict=True))
            asked.append(dg.RunRequest(job_name=self._job_name, tags=tags))
        return asked, list(waiting)

    def _why_to_wait(self, moment: datetime, pause: timedelta) -> str | None:
        """Why no run should be asked for that builds this partition, or None.

        One is on its way, or failed lately, or ended less than `pause` ago. A run that somebody
        cancelled counts as failed.
        """
        if reason := self._on_its_way(moment):
            return reason
        ended = [run for run in self._ended if run.covers(moment)]
        if not ended:
            return None
        if failures := self._failures(moment):
            pause = max(pause, min(timedelta(seconds=5 * 2**failures), LONGEST_PAUSE))
        due = max(run.ended_at for run in ended) + pause
        if self._now >= due:
            return None
        failing = f" (its last {failures} runs failed)" if failures else ""
        return f"{self._job_name} is due again at {due:%H:%M:%S} UTC{failing}"

    def _failures(self, moment: datetime) -> int:
        """How many of the last runs for this partition failed."""
        ended = (run for run in self._ended if run.covers(moment))
        return sum(1 for _ in takewhile(lambda run: not run.succeeded, ended))

    def _ranges(self, due: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
        """Contiguous ones; but who failed is tried alone, for one of a range may be to blame."""
        failed = [moment for moment in due if self._failures(moment)]
        others = [moment for moment in due if moment not in failed]
        alone = [(moment, moment) for moment in failed]
        return sorted([*contiguous(others, self._step), *alone])

    def _on_its_way(self, moment: datetime) -> str | None:
        for run in self._unfinished:
            if run.covers(moment):
                return f"{self._job_name} is on its way (run {run.run_id[:8]})"
        return None

    def _cut(
        self, ranges: Sequence[tuple[datetime, datetime]]
    ) -> Iterator[tuple[datetime, datetime]]:
        """What shall be one run each, the newest range first."""
        for first, last in reversed(ranges):
            longest = first + (PARTITIONS_A_RUN - 1) * self._step
            waits = last > longest or self._on_its_way(first - self._step)
            if waits and first < last and last > self._now - self._step:
                yield last, last
                last -= self._step
            yield first, min(last, longest)

    def _runs(
        self, instance: dg.DagsterInstance, which: dg.RunsFilter, limit: int | None = None
    ) -> list[_Asked]:
        """The newest first."""
        return [self._asked(record) for record in instance.get_run_records(which, limit=limit)]

    def _asked(self, record: dg.RunRecord) -> _Asked:
        tags = record.dagster_run.tags
        single = tags.get(PARTITION)
        first, last = tags.get(RANGE_START, single), tags.get(RANGE_END, single)
        end = record.end_time or record.create_timestamp.timestamp()
        return _Asked(
            record.dagster_run.run_id,
            self._moment(first) if first else datetime.min.replace(tzinfo=UTC),
            self._moment(last) if last else datetime.max.replace(tzinfo=UTC),
            record.dagster_run.status == dg.DagsterRunStatus.SUCCESS,
            datetime.fromtimestamp(end, UTC),
        )

    def _moment(self, key: str) -> datetime:
        return datetime.strptime(key, self._key_format).replace(tzinfo=UTC)
