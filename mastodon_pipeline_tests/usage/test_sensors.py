"""`landed_toots_sensor` asks for what is stale: at once, once, and again after a failure."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.freshness import Cursor, Freshness
from mastodon_pipeline.usage.lake import Lake
from mastodon_pipeline.usage.sensors import RANGE_END, RANGE_START, landed_toots_sensor, requests
from mastodon_pipeline_tests.usage.local_lake import (
    DAY,
    HOUR,
    LocalLakeSource,
    land,
    record,
    rows,
)

HOURLY, DAILY = "refresh_hourly_usage", "refresh_daily_usage"
STALE = Freshness(stale_hours=(HOUR,), stale_days=(), ignored=())


def run(instance: dg.DagsterInstance, job: str, status: dg.DagsterRunStatus) -> None:
    """A run of this job that came to this status just now."""
    one = instance.create_run_for_job(job_def=definitions.resolve_job_def(job), status=status)
    assert one.status == status


def ranges(asked: list[dg.RunRequest]) -> list[tuple[str | None, str, str]]:
    """Job, first and last partition of each."""
    return [(one.job_name, one.tags[RANGE_START], one.tags[RANGE_END]) for one in asked]


def test_each_contiguous_range_is_one_run_of_exactly_its_hours(
    instance: dg.DagsterInstance,
) -> None:
    """The newest first; what is too much for one look comes with the next."""
    hours = [HOUR + timedelta(hours=shift) for shift in (-30, -20, -19, -3, -1, 0)]
    found = Freshness(tuple(hours), (), ())
    asked, waiting = requests(instance, found, datetime.now(UTC))
    assert ranges(asked) == [
        (HOURLY, "2026-11-24-14:00", "2026-11-24-15:00"),
        (HOURLY, "2026-11-24-12:00", "2026-11-24-12:00"),
        (HOURLY, "2026-11-23-19:00", "2026-11-23-20:00"),
    ]
    assert waiting == []


def test_stale_days_are_runs_of_the_daily_job(instance: dg.DagsterInstance) -> None:
    """Beside the hourly ones."""
    found = Freshness((HOUR,), (DAY - timedelta(days=1), DAY), ())
    asked, _ = requests(instance, found, datetime.now(UTC))
    assert ranges(asked) == [
        (HOURLY, "2026-11-24-15:00", "2026-11-24-15:00"),
        (DAILY, "2026-11-23", "2026-11-24"),
    ]


@pytest.mark.parametrize(
    "status",
    [
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
        dg.DagsterRunStatus.CANCELING,
    ],
)
def test_it_never_queues_behind_itself(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    """While a run is on its way, the hours wait, and are still stale afterwards."""
    run(instance, HOURLY, status)
    asked, waiting = requests(instance, STALE, datetime.now(UTC))
    assert asked == []
    assert "is on its way" in waiting[0]


def test_a_run_that_a_power_cut_left_started_is_not_waited_for(
    instance: dg.DagsterInstance,
) -> None:
    """Dagster shows it as STARTED for ever."""
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED)
    later = datetime.now(UTC) + timedelta(minutes=16)
    assert len(requests(instance, STALE, later)[0]) == 1


def test_after_a_failure_it_asks_again_with_growing_pauses(instance: dg.DagsterInstance) -> None:
    """10 s, 20 s, ... so that a lasting fault does not fill the run list."""
    for failures, pause in ((1, 10), (2, 20), (3, 40)):
        run(instance, HOURLY, dg.DagsterRunStatus.FAILURE)
        ended = datetime.now(UTC)
        asked, waiting = requests(instance, STALE, ended + timedelta(seconds=pause - 5))
        assert asked == [], failures
        assert f"its last {failures} runs failed" in waiting[0]
        assert len(requests(instance, STALE, ended + timedelta(seconds=pause + 1))[0]) == 1


def test_a_success_ends_the_pauses(instance: dg.DagsterInstance) -> None:
    """At once."""
    run(instance, HOURLY, dg.DagsterRunStatus.FAILURE)
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS)
    assert len(requests(instance, STALE, datetime.now(UTC))[0]) == 1


def test_a_running_day_is_built_now_and_then(instance: dg.DagsterInstance) -> None:
    """While its hours change all the time; once they rest, at once."""
    run(instance, DAILY, dg.DagsterRunStatus.SUCCESS)
    now = datetime.now(UTC)
    busy, quiet = Freshness((HOUR,), (DAY,), ()), Freshness((), (DAY,), ())
    assert [one.job_name for one in requests(instance, busy, now)[0]] == [HOURLY]
    later = now + timedelta(minutes=6)
    assert [one.job_name for one in requests(instance, busy, later)[0]] == [HOURLY, DAILY]
    assert [one.job_name for one in requests(instance, quiet, now)[0]] == [DAILY]


def test_what_it_asks_for_makes_everything_current(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """Hours, then their day, then nothing: the whole way of a late and a new toot."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    late = this_hour - timedelta(hours=26)
    land(lake, record(created_at=this_hour), record(uri="b", status_id="2", created_at=late))
    source = LocalLakeSource(Path(lake.layout.root))
    cursor, jobs = str(Cursor()), []
    for _ in range(4):
        context = dg.build_sensor_context(
            instance=instance,
            cursor=cursor,
            definitions=definitions,
            resources={"lake_source": source},
        )
        result = landed_toots_sensor(context)
        assert isinstance(result, dg.SensorResult)
        cursor = str(result.cursor)
        jobs.append(sorted({str(one.job_name) for one in result.run_requests or []}))
        for one in result.run_requests or []:
            job = definitions.resolve_job_def(str(one.job_name))
            outcome = job.execute_in_process(
                instance=instance, tags=one.tags, resources={"lake_source": source}
            )
            assert outcome.success
    assert jobs == [[HOURLY], [DAILY], [], []]
    for hour in (this_hour, late):
        assert [row["toots"] for row in rows(lake, lake.layout.toots_per_server(hour))] == [1]
        daily = lake.layout.daily("daily_usage", hour.date())
        assert [row["toots"] for row in rows(lake, daily)] == [1]
