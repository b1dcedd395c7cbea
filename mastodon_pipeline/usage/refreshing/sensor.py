"""Keeps the tables current: requests runs for the hours and days that are behind what landed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property
from itertools import takewhile

import dagster as dg

from mastodon_pipeline.errors import BucketMissing
from mastodon_pipeline.event_log import reuse_instance
from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.first_day import first_day_of
from mastodon_pipeline.usage.partition_keys import (
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
from mastodon_pipeline.usage.refreshing.in_tick import CLOSING, HourBuilder, is_over, past_pause
from mastodon_pipeline.usage.refreshing.jobs import refresh_daily_usage, refresh_hourly_usage
from mastodon_pipeline.usage.remembered_day import FirstDay, load_first_day, save_first_day

INTERVAL_SECONDS = 10
MAX_PARTITIONS_PER_RUN = 300
"""A longer range is built from its oldest end, as many at a time, and the current hour apart. So
many that the start of a run, which takes as long as 40 hours, does not matter."""
MAX_PAST_RUNS = 2
"""Runs for past partitions at the same time, beside the current hour's."""
ABANDONED, SLOWEST_PARTITION = timedelta(minutes=15), timedelta(seconds=12)
"""A run is not waited for longer than this and as much for each partition: after a power cut it
stays STARTED."""
MAX_PAUSE = timedelta(minutes=10)
"""Between attempts if runs keep failing: 10 s at first, then twice as long each time."""
REMEMBERED_RUNS = 50
"""How many of the last runs are searched for failures."""
DAILY_PAUSE, DAILY_PAUSE_AT_REST = timedelta(minutes=15), timedelta(minutes=1)
"""Between builds of a day's tables and charts, while toots keep coming and once they rest."""
REST = timedelta(seconds=30)
"""This long without a new file, three of the sink's commits, is rest."""
HOURS = HourBuilder()
"""What this process has built itself."""
DAEMON_ASKS_AGAIN = timedelta(seconds=90)
"""After this the daemon, which asks for the partitions once a minute, knows of an earlier first
day. A run for older partitions than it knows, it cannot create."""

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
def landed_toots_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Materialize the hours that got new files, late ones too, then the days they belong to.

    Small hours at once, without a run (see `in_tick`). Else one run a contiguous range, never for
    an hour that an unfinished run will build, and with a growing pause if runs fail. Stopping it
    loses nothing: when it runs again, it finds what is behind.
    """
    reuse_instance(context)
    now = datetime.now(UTC)
    hourly = _Refresh(context.instance, refresh_hourly_usage.name, HOUR, HOUR_KEY, now)
    earliest = load_settings().first_day
    remembered = load_first_day(context.instance)
    try:
        with LAKE.standing() as opened:
            first_day = remembered.day if remembered else first_day_of(opened, earliest, now)
            cursor = Cursor.parse(context.cursor) if remembered else Cursor()
            freshness = scan(opened, cursor, now, max(first_day, earliest), earliest=earliest)
            if remembered is None or freshness.first_day < remembered.day:
                before = remembered.day if remembered else None
                remembered = FirstDay(freshness.first_day, now, before)
                save_first_day(context.instance, remembered)
                context.log.info(f"the tables begin with {remembered.day}")
            freshness = without_unknown(freshness, remembered, now)
            tick = HOURS.build(opened, freshness, now, hourly.is_free)
    except BucketMissing as error:
        if remembered is not None:
            raise
        return dg.SkipReason(str(error))  # a new installation
    for line in freshness.ignored:
        context.log.info(f"not counted: {line}")
    for line in tick.failures:
        context.log.warning(line)
    done = {*tick.built, *tick.waiting}
    requests, waiting = run_requests(context.instance, freshness, now, done)
    built = [f"built {hour:%H:%M} UTC" for hour in tick.built]
    reasons = [*built, *tick.waiting.values(), *waiting, *freshness.ignored]
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None
        if requests
        else dg.SkipReason("; ".join(reasons or ["every hour and day is current"])),
        cursor=str(freshness.cursor),
        asset_events=tick.events,
    )


def without_unknown(freshness: Freshness, first_day: FirstDay, now: datetime) -> Freshness:
    """Leave out the partitions that Dagster's daemon may not know yet: they wait for a minute."""
    if first_day.before is None or now - first_day.changed_at >= DAEMON_ASKS_AGAIN:
        return freshness

    def is_known(day: date) -> bool:
        return first_day.before is None or day >= first_day.before

    waits = f"the tables begin with {first_day.day}: Dagster's daemon will know within a minute"
    return replace(
        freshness,
        stale_hours=tuple(hour for hour in freshness.stale_hours if is_known(hour.date())),
        stale_days=tuple(filter(is_known, freshness.stale_days)),
        ignored=(*freshness.ignored, waits),
    )


def run_requests(
    instance: dg.DagsterInstance,
    freshness: Freshness,
    now: datetime,
    done: Collection[datetime] = (),
) -> tuple[list[dg.RunRequest], list[str]]:
    """Return the runs to request at `now` (UTC), and the reasons why other partitions wait.

    `done`: hours that are stale but need no run now.
    """
    hourly = _Refresh(instance, refresh_hourly_usage.name, HOUR, HOUR_KEY, now)
    stale = {hour for hour in freshness.stale_hours if hour not in done}
    if freshness.last_hour is not None and hourly.is_to_be_closed(freshness.last_hour):
        stale.add(freshness.last_hour)
    pauses = {hour: past_pause(freshness, hour) for hour in stale if is_over(hour, now)}
    requests, waiting = hourly.run_requests(sorted(stale), pauses)
    more_is_coming = bool(freshness.stale_hours) or (
        freshness.newest is not None and now - freshness.newest < REST
    )
    daily = _Refresh(instance, refresh_daily_usage.name, DAY, DAY_KEY, now)
    building = hourly.ranges_being_built(requests)
    stale_days = [
        start
        for start in (datetime.combine(day, time(), UTC) for day in freshness.stale_days)
        # They would be stale again once those hours are built, and charts take the longest.
        if not any(first < start + DAY and last >= start for first, last in building)
    ]
    daily_requests, waiting_days = daily.run_requests(
        stale_days,
        # While hours keep changing, a day is never current for long: it is built now and then.
        dict.fromkeys(stale_days, DAILY_PAUSE if more_is_coming else DAILY_PAUSE_AT_REST),
    )
    return [*requests, *daily_requests], [*waiting, *waiting_days]


@dataclass(frozen=True, slots=True)
class _Run:
    """A run, and the partitions it was requested for, by their starts."""

    run_id: str
    first: datetime
    last: datetime
    succeeded: bool
    created_at: datetime
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
        self._instance, self._now = instance, now
        self._job_name, self._step, self._key_format = job_name, step, key_format

    @cached_property
    def _unfinished(self) -> list[_Run]:
        since = self._now - ABANDONED - MAX_PARTITIONS_PER_RUN * SLOWEST_PARTITION
        # Of all jobs: they are few, where SQLite would read each run that this job ever had.
        unfinished = dg.RunsFilter(statuses=_UNFINISHED, created_after=since)
        runs = [
            self._run(record)
            for record in self._instance.get_run_records(unfinished)
            if record.dagster_run.job_name == self._job_name
        ]
        return [run for run in runs if self._now - run.created_at < self._longest(run)]

    def _longest(self, run: _Run) -> timedelta:
        partitions = min((run.last - run.first) // self._step + 1, MAX_PARTITIONS_PER_RUN)
        return ABANDONED + partitions * SLOWEST_PARTITION

    @cached_property
    def _ended(self) -> list[_Run]:
        ended = dg.RunsFilter(job_name=self._job_name, statuses=_ENDED)
        return [
            self._run(record)
            for record in self._instance.get_run_records(ended, limit=REMEMBERED_RUNS)
        ]

    def ranges_being_built(
        self, requests: Sequence[dg.RunRequest]
    ) -> list[tuple[datetime, datetime]]:
        """Return the ranges, of more than one partition, of unfinished runs and of `requests`."""
        keys = [(request.tags[RANGE_START], request.tags[RANGE_END]) for request in requests]
        requested = [(self._moment(first), self._moment(last)) for first, last in keys]
        ranges = [*requested, *((run.first, run.last) for run in self._unfinished)]
        return [(first, last) for first, last in ranges if first < last]

    def is_free(self, moment: datetime) -> bool:
        """Return whether no run builds this partition now, and none has failed to."""
        return self._unfinished_run(moment) is None and not self._failures(moment)

    def is_to_be_closed(self, hour: datetime) -> bool:
        """Return whether this hour is over, and no run has built it since.

        What was built within ticks is recounted once more, from the landed files themselves.
        """
        closed = hour + self._step + CLOSING
        return self._now >= closed and not any(
            run.covers(hour) and run.succeeded and run.created_at >= closed for run in self._ended
        )

    def run_requests(
        self, stale: Sequence[datetime], pauses: Mapping[datetime, timedelta]
    ) -> tuple[list[dg.RunRequest], list[str]]:
        """Return a run for each contiguous range of these partitions, and why others wait.

        `pauses`: between two runs of a partition, none by default.
        The newest first. What is too much at once is still stale at the next scan.
        """
        none = timedelta(0)
        reasons = {
            moment: self._reason_to_wait(moment, pauses.get(moment, none)) for moment in stale
        }
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
            record.create_timestamp,
            datetime.fromtimestamp(end, UTC),
        )

    def _moment(self, key: str) -> datetime:
        return datetime.strptime(key, self._key_format).replace(tzinfo=UTC)
