"""Keeps the tables current: asks for the hours and days that are behind what has landed."""

from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta

import dagster as dg

from mastodon_pipeline.settings import load_settings
from mastodon_pipeline.usage.freshness import DAY, HOUR, Cursor, Freshness, contiguous, look
from mastodon_pipeline.usage.jobs import refresh_daily_usage, refresh_hourly_usage
from mastodon_pipeline.usage.lake import LakeSource
from mastodon_pipeline.usage.partitions import DAY_KEY, HOUR_KEY

__all__ = ["landed_toots_sensor", "requests", "why_to_wait"]

INTERVAL_SECONDS = 10
RUNS_AT_ONCE = 3
"""Ranges that one look asks for; the others are still stale at the next."""
ABANDONED = timedelta(minutes=15)
"""A run that began longer ago is not waited for: after a power cut it stays STARTED for ever."""
LONGEST_PAUSE = timedelta(minutes=10)
"""Between tries, where runs keep failing: 10 s at first, then twice as long each time."""
DAILY_PAUSE = timedelta(minutes=5)
"""Between builds of the running day's tables and chart, while its hours keep changing."""
# Dagster's documented run tags for a range of partitions in one run.
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"

_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


@dg.sensor(
    jobs=[refresh_hourly_usage, refresh_daily_usage],
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def landed_toots_sensor(
    context: dg.SensorEvaluationContext, lake_source: dg.ResourceParam[LakeSource]
) -> dg.SensorResult | dg.SkipReason:
    """Re-materialises the hours that got new files, late ones too, then the days they belong to.

    One run a contiguous range, never a second while one is on its way, and a growing pause where
    runs fail. Stopping it loses nothing: once on again, it finds what is behind.
    """
    now = datetime.now(UTC)
    with lake_source.open() as lake:
        found = look(lake, Cursor.parse(context.cursor), now, load_settings().first_day)
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
    asked: list[dg.RunRequest] = []
    waiting: list[str] = []
    if found.stale_hours:
        if reason := why_to_wait(instance, refresh_hourly_usage.name, now):
            waiting.append(reason)
        else:
            asked += _ranges(refresh_hourly_usage.name, found.stale_hours, HOUR, HOUR_KEY)
    if found.stale_days:
        # While hours keep changing, a day would never come to rest: it is built now and then.
        pause = DAILY_PAUSE if found.stale_hours else timedelta(0)
        if reason := why_to_wait(instance, refresh_daily_usage.name, now, pause):
            waiting.append(reason)
        else:
            moments = [datetime.combine(day, time(), UTC) for day in found.stale_days]
            asked += _ranges(refresh_daily_usage.name, moments, DAY, DAY_KEY)
    return asked, waiting


def why_to_wait(
    instance: dg.DagsterInstance, job_name: str, now: datetime, pause: timedelta = timedelta(0)
) -> str | None:
    """Why no run of this job should be asked for at `now` (UTC), or None.

    It is on its way, or failed lately, or ended less than `pause` ago. A run that somebody
    cancelled counts as failed.
    """
    since = now - ABANDONED
    unfinished = instance.get_run_records(
        dg.RunsFilter(job_name=job_name, statuses=_UNFINISHED, created_after=since), limit=1
    )
    if unfinished:
        return f"{job_name} is on its way (run {unfinished[0].dagster_run.run_id[:8]})"
    ended = instance.get_run_records(
        dg.RunsFilter(
            job_name=job_name,
            statuses=[
                dg.DagsterRunStatus.SUCCESS,
                dg.DagsterRunStatus.FAILURE,
                dg.DagsterRunStatus.CANCELED,
            ],
        ),
        limit=10,
    )
    if not ended:
        return None
    failures = 0
    for record in ended:
        if record.dagster_run.status == dg.DagsterRunStatus.SUCCESS:
            break
        failures += 1
    if failures:
        pause = max(pause, min(timedelta(seconds=5 * 2**failures), LONGEST_PAUSE))
    last = datetime.fromtimestamp(ended[0].end_time or ended[0].create_timestamp.timestamp(), UTC)
    if now >= last + pause:
        return None
    failing = f" (its last {failures} runs failed)" if failures else ""
    return f"{job_name} is due again at {last + pause:%H:%M:%S} UTC{failing}"


def _ranges(
    job_name: str, moments: Sequence[datetime], step: timedelta, key_format: str
) -> list[dg.RunRequest]:
    newest_first = contiguous(moments, step)[::-1]
    return [
        dg.RunRequest(
            job_name=job_name,
            tags={RANGE_START: first.strftime(key_format), RANGE_END: last.strftime(key_format)},
        )
        for first, last in newest_first[:RUNS_AT_ONCE]
    ]
