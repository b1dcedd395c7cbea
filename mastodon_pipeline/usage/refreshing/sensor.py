"""Keeps the tables current: requests runs for the hours and days that are behind what landed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import takewhile

import dagster as dg

from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.partitions import (
    DAY_KEY,
    HOUR_KEY,
    PARTITION,
    RANGE_END,
    RANGE_START,
)
from mastodon_pipeline.usage.refreshing.freshness import (
    DAY,
    HOUR,
    Cursor,
    Freshness,
    contiguous,
    scan,
)
from mastodon_pipeline.usage.refreshing.jobs import refresh_daily_usage, refresh_hourly_usage

INTERVAL_SECONDS = 10
MAX_PARTITIONS_PER_RUN = 72
"""A longer range is built from its oldest end, 72 at a time, and the current hour apart. Few enough
to be built before a run counts as abandoned, at 12 s an hour; many enough for the start of a run,
some 10 s with the queue, not to matter."""
MAX_PAST_RUNS = 2
"""Runs for past partitions at the same time, beside the current hour's."""
ABANDONED = timedelta(minutes=15)
"""A run that began longer ago is not waited for: after a power cut it stays STARTED."""
MAX_PAUSE = timedelta(minutes=10)
"""Between attempts if runs keep failing: 10 s at first, then twice as long each time."""
REMEMBERED_RUNS = 50
"""How many of the last runs are searched for failures."""
DAILY_PAUSE, DAILY_PAUSE_AT_REST = timedelta(minutes=5), timedelta(minutes=1)
"""Between builds of a day's tables and charts, while toots keep coming and once they rest."""
REST = timedelta(seconds=30)
"""This long without a new file, three of the sink's commits, is rest."""

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
    """Materialize the hours that got new files, late ones too, then the days they belong to.

    One run a contiguous range, never for an hour that an unfinished run will build, and with a
    growing pause if runs fail. Stopping it loses nothing: when it runs again, it finds what is
    behind.
    """
    now = datetime.now(UTC)
    with lake.open() as opened:
        freshness = scan(opened, Cursor.parse(context.cursor), now, load_settings().first_day)
    for line in freshness.ignored:
        context.log.info(f"not counted: {line}")
    requests, waiting = run_requests(context.instance, freshness, now)
    reasons = [*waiting, *freshness.ignored] or ["every hour and day is current"]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else dg.SkipReason("; ".join(reasons)),
        cursor=str(freshness.cursor),
    )


def run_requests(
    instance: dg.DagsterInstance, freshness: Freshness, now: datetime
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return the runs to request at `now` (UTC), and the reasons why other partitions wait."""
    hourly = _Refresh(instance, refresh_hourly_usage.name, HOUR, HOUR_KEY, now)
    requests, waiting = hourly.run_requests(freshness.stale_hours)
    more_is_coming = bool(freshness.stale_hours) or (
        freshness.newest is not None and now - freshness.newest < REST
    )
    daily = _Refresh(instance, refresh_daily_usage.name, DAY, DAY_KEY, now)
    daily_requests, waiting_days = daily.run_requests(
        [datetime.combine(day, time(), UTC) for day in freshness.stale_days],
        # While hours keep changing, a day is never current for long: it is built now and then.
        DAILY_PAUSE if more_is_coming else DAILY_PAUSE_AT_REST,
    )
    return [*requests, *daily_requests], [*waiting, *waiting_days]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run, and the partitions it was requested for, by their starts."""

    run_id: str
    first: datetime
    last: datetime
    succeeded: bool
    ended_at: datetime

    def covers(self, moment: datetime) -> bool:
        return self.first <= moment <= self.last


class _Refresh:
    """One of the jobs: its partitions, and its recent runs."""

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

    def run_requests(
        self, stale: Sequence[datetime], pause: timedelta = timedelta(0)
    ) -> tuple[list[dg.RunRequest], list[str]]:
        """Return a run for each contiguous range of these partitions, and why others wait.

        The newest first. What is too much at once is still stale at the next scan.
        """
        reasons = {moment: self._reason_to_wait(moment, pause) for moment in stale}
        due = [moment for moment, reason in reasons.items() if reason is None]
        waiting = dict.fromkeys(reason for reason in reasons.values() if reason is not None)
        newest_past = self._now - self._step
        free = MAX_PAST_RUNS - sum(run.last <= newest_past for run in self._unfinished)
        requests = []
        for first, last in self._cut(self._ranges(due)):
            if last <= newest_past:
                # An hour is built from the hour before as well, see `clock_skew`.
                if reason := self._unfinished_run(first - self._step):
                    waiting[reason] = None
                    continue
                if free <= 0:
                    waiting[f"{self._job_name} has {MAX_PAST_RUNS} unfinished runs"] = None
                    break
                free -= 1
            keys = first.strftime(self._key_format), last.strftime(self._key_format)
            tags = dict(zip((RANGE_START, RANGE_END), keys, strict=True))
            requests.append(dg.RunRequest(job_name=self._job_name, tags=tags))
        return requests, list(waiting)

    def _reason_to_wait(self, moment: datetime, pause: timedelta) -> str | None:
        """Return why no run should be requested that builds this partition, or None.

        A run is unfinished, or failed recently, or ended less than `pause` ago. A run that somebody
        cancelled counts as failed.
        """
        if reason := self._unfinished_run(moment):
            return reason
        ended = [run for run in self._ended if run.covers(moment)]
        if not ended:
            return None
        if failures := self._failures(moment):
            pause = max(pause, min(timedelta(seconds=5 * 2**failures), MAX_PAUSE))
        due = max(run.ended_at for run in ended) + pause
        if self._now >= due:
            return None
        failing = f" (its last {failures} runs failed)" if failures else ""
        return f"{self._job_name} is due again at {due:%H:%M:%S} UTC{failing}"

    def _failures(self, moment: datetime) -> int:
        """Count how many of the last runs for this partition failed."""
        ended = (run for run in self._ended if run.covers(moment))
        return sum(1 for _ in takewhile(lambda run: not run.succeeded, ended))

    def _ranges(self, due: Sequence[datetime]) -> list[tuple[datetime, datetime]]:
        """Return contiguous ranges; but partitions that failed alone, as one may be to blame."""
        failed = [moment for moment in due if self._failures(moment)]
        others = [moment for moment in due if moment not in failed]
        alone = [(moment, moment) for moment in failed]
        return sorted([*contiguous(others, self._step), *alone])

    def _unfinished_run(self, moment: datetime) -> str | None:
        for run in self._unfinished:
            if run.covers(moment):
                return f"{self._job_name} is unfinished (run {run.run_id[:8]})"
        return None

    def _cut(
        self, ranges: Sequence[tuple[datetime, datetime]]
    ) -> Iterator[tuple[datetime, datetime]]:
        """Cut the ranges into what shall be one run each, the newest first."""
        for first, last in reversed(ranges):
            longest = first + (MAX_PARTITIONS_PER_RUN - 1) * self._step
            waits = last > longest or self._unfinished_run(first - self._step)
            if waits and first < last and last > self._now - self._step:
                yield last, last
                last -= self._step
            yield first, min(last, longest)

    def _runs(
        self, instance: dg.DagsterInstance, runs: dg.RunsFilter, limit: int | None = None
    ) -> list[_Run]:
        """Return the runs that match, the newest first."""
        return [self._run(record) for record in instance.get_run_records(runs, limit=limit)]

    def _run(self, record: dg.RunRecord) -> _Run:
        tags = record.dagster_run.tags
        single = tags.get(PARTITION)
        first, last = tags.get(RANGE_START, single), tags.get(RANGE_END, single)
        end = record.end_time or record.create_timestamp.timestamp()
        return _Run(
            record.dagster_run.run_id,
            self._moment(first) if first else datetime.min.replace(tzinfo=UTC),
            self._moment(last) if last else datetime.max.replace(tzinfo=UTC),
            record.dagster_run.status == dg.DagsterRunStatus.SUCCESS,
            datetime.fromtimestamp(end, UTC),
        )

    def _moment(self, key: str) -> datetime:
        return datetime.strptime(key, self._key_format).replace(tzinfo=UTC)
