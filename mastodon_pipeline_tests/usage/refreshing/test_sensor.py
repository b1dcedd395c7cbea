"""`landed_toots_sensor` requests what is stale: at once, once, and again after a failure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import dagster as dg
import pytest

from mastodon_pipeline.lake import resource
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import HOUR_KEY, PARTITION, RANGE_END
from mastodon_pipeline.usage.refreshing import in_tick
from mastodon_pipeline.usage.refreshing.freshness import Cursor, Freshness
from mastodon_pipeline.usage.refreshing.sensor import (
    ABANDONED,
    DAEMON_ASKS_AGAIN,
    run_requests,
)
from mastodon_pipeline.usage.remembered_day import FirstDay, load_first_day, save_first_day
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    land,
    record,
    rows,
)
from mastodon_pipeline_tests.support.sensor_ticks import DAILY, HOURLY, ranges, run, tick

pytestmark = pytest.mark.thorough

NOW = HOUR + timedelta(minutes=30)
STALE = Freshness(stale_hours=(HOUR,), stale_days=(), ignored=())


def test_first_day_is_remembered_and_older_hours_wait_for_the_daemon(
    lake: Lake, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot create a run for partitions that it does not know yet."""
    monkeypatch.setattr(in_tick, "MAX_BYTES", 0)  # Every hour is built by a run.
    monkeypatch.setattr(resource, "COMPLETE_EVERY_SECONDS", 0.0)
    now = datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    old = datetime(2023, 2, 3, 10, tzinfo=UTC)
    land(lake, record(created_at=this_hour, ingested_at=now))
    assert [job for job, *_ in ranges(tick(instance, lake).run_requests or ())] == [HOURLY]
    first = load_first_day(instance)
    assert first is not None
    assert first.day == (now - timedelta(days=31)).date().replace(day=1)
    land(lake, record(uri="b", created_at=old, source="replay"))
    requested = ranges(tick(instance, lake).run_requests or ())
    assert [first_key for _, first_key, _ in requested] == [f"{this_hour:{HOUR_KEY}}"]
    moved = load_first_day(instance)
    assert moved is not None
    assert (moved.day, moved.before) == (date(2023, 2, 1), first.day)
    save_first_day(instance, FirstDay(moved.day, now - DAEMON_ASKS_AGAIN, moved.before))
    requested = ranges(tick(instance, lake).run_requests or ())
    assert (HOURLY, "2023-02-03-10:00", "2023-02-03-10:00") in requested


def test_each_contiguous_range_of_hours_is_one_run(
    instance: dg.DagsterInstance,
) -> None:
    """The newest first; what is too much for one tick comes with the next."""
    hours = [HOUR + timedelta(hours=shift) for shift in (-30, -20, -19, -3, -1, 0)]
    requests, waiting = run_requests(instance, Freshness(tuple(hours), (), ()), NOW)
    assert ranges(requests) == [
        (HOURLY, "2026-11-24-14:00", "2026-11-24-15:00"),
        (HOURLY, "2026-11-24-12:00", "2026-11-24-12:00"),
        (HOURLY, "2026-11-23-19:00", "2026-11-23-20:00"),
    ]
    assert waiting == [f"{HOURLY} has 2 unfinished runs"]


def test_long_range_is_built_300_hours_at_a_time(instance: dg.DagsterInstance) -> None:
    """In order, as an hour is built from the one before too; the current hour does not wait."""
    hours = [HOUR - timedelta(hours=ago) for ago in range(330)][::-1]
    freshness = Freshness(tuple(hours), (), ())
    requests, _ = run_requests(instance, freshness, NOW)
    current = (HOURLY, "2026-11-24-15:00", "2026-11-24-15:00")
    assert ranges(requests) == [current, (HOURLY, "2026-11-10-22:00", "2026-11-23-09:00")]
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED, "2026-11-10-22:00", "2026-11-23-09:00")
    for remaining in (freshness, Freshness(tuple(hours[-30:]), (), ())):
        requests, waiting = run_requests(instance, remaining, NOW)
        assert ranges(requests) == [current]
        assert "is unfinished" in waiting[0]


def test_stale_days_are_runs_of_the_daily_job(instance: dg.DagsterInstance) -> None:
    """Beside the hourly ones."""
    freshness = Freshness((HOUR,), (DAY - timedelta(days=1), DAY), ())
    requests, _ = run_requests(instance, freshness, NOW)
    assert ranges(requests) == [
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
def test_hour_waits_while_a_run_for_it_is_unfinished(
    instance: dg.DagsterInstance, status: dg.DagsterRunStatus
) -> None:
    """It is still stale afterwards.

    Only Dagster can queue a run; that the hour waits for those too is seen by the benchmark of
    freshness.
    """
    run(instance, HOURLY, status)
    requests, waiting = run_requests(instance, STALE, NOW)
    assert requests == []
    assert "is unfinished" in waiting[0]


def test_hour_does_not_wait_for_an_unfinished_run_of_another_job(
    instance: dg.DagsterInstance,
) -> None:
    """Whatever its partitions are called."""
    foreign = dg.GraphDefinition(name="foreign").to_job()
    instance.create_run_for_job(foreign, tags={PARTITION: "no time"})
    requests, waiting = run_requests(instance, STALE, NOW)
    assert [request.job_name for request in requests] == [HOURLY]
    assert waiting == []


def test_current_hour_does_not_wait_for_runs_of_the_past(
    instance: dg.DagsterInstance,
) -> None:
    """However many hours there are to catch up with; these wait for one another."""
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED, "2026-11-22-00:00", "2026-11-22-23:00")
    run(instance, HOURLY, dg.DagsterRunStatus.STARTING, "2026-11-23-00:00", "2026-11-23-23:00")
    hours = [HOUR - timedelta(hours=ago) for ago in (60, 30, 4, 0)]
    requests, waiting = run_requests(instance, Freshness(tuple(hours), (), ()), NOW)
    assert ranges(requests) == [(HOURLY, "2026-11-24-15:00", "2026-11-24-15:00")]
    assert len(waiting) == 3, "one for each run, and one for the hour that no run builds yet"


def watched_lake(root: str, after_listing: Callable[[], None]) -> LocalLakeResource:
    """A lake in which something happens once, just after a run has listed what it will read."""
    happenings = [after_listing]

    class WatchedLake(LocalLakeResource):
        @contextmanager
        def open(self) -> Iterator[Lake]:
            with super().open() as lake:

                def list_files(prefix: str, after: str = "") -> Iterable[StoredFile]:
                    files = list(lake.list_files(prefix, after))
                    if prefix.startswith(lake.layout.landed()) and happenings:
                        happenings.pop()()
                    return files

                yield replace(lake, list_files=list_files)

    return WatchedLake(root=root)


def test_hour_of_a_file_that_lands_during_its_run_is_built_after_it(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """Not while the run is unfinished, and not never."""
    now = datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    land(lake, record(created_at=this_hour))
    ((request,), _) = run_requests(instance, Freshness((this_hour,), (), ()), now)
    meanwhile: list[dg.SensorResult] = []

    def happens() -> None:
        land(lake, record(uri="b", status_id="2", created_at=this_hour), name="b")
        meanwhile.append(tick(instance, lake))

    watched = watched_lake(lake.layout.root, happens)
    job = definitions.resolve_job_def(HOURLY)
    assert job.execute_in_process(
        instance=instance, tags=request.tags, resources={"lake": watched}
    ).success
    assert [row["toots"] for row in rows(lake, lake.layout.toots_per_server(this_hour))] == [1]
    assert not meanwhile[0].run_requests
    assert "is unfinished" in str(meanwhile[0].skip_reason)
    tick(instance, lake)
    assert [row["toots"] for row in rows(lake, lake.layout.toots_per_server(this_hour))] == [2]


def test_hour_that_keeps_failing_holds_up_no_other(instance: dg.DagsterInstance) -> None:
    """For example by an unreadable file: its pauses grow, the others' do not."""
    other = HOUR - timedelta(hours=5)
    for _ in range(4):
        run(instance, HOURLY, dg.DagsterRunStatus.FAILURE, "2026-11-24-10:00")
        run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS)
    soon = datetime.now(UTC) + timedelta(seconds=70)
    requests, waiting = run_requests(instance, Freshness((other, HOUR), (), ()), soon)
    assert ranges(requests) == [(HOURLY, "2026-11-24-15:00", "2026-11-24-15:00")]
    assert "its last 4 runs failed" in waiting[0]


def test_run_left_started_by_a_power_cut_is_not_waited_for(instance: dg.DagsterInstance) -> None:
    """Dagster never ends it."""
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED)
    later = datetime.now(UTC) + timedelta(minutes=16)
    assert len(run_requests(instance, STALE, later)[0]) == 1


def test_run_of_many_hours_is_waited_for_longer(instance: dg.DagsterInstance) -> None:
    """It builds them one after another."""
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED, "2026-11-14-16:00", "2026-11-24-15:00")
    now = datetime.now(UTC)
    requested = [len(run_requests(instance, STALE, now + ABANDONED * n)[0]) for n in (2, 9)]
    assert requested == [0, 1]


def test_days_wait_for_a_range_of_their_hours(instance: dg.DagsterInstance) -> None:
    """Other days do not, nor does a day wait for a single hour."""
    hours = tuple(HOUR - timedelta(hours=ago) for ago in (3, 2))
    earlier = DAY - timedelta(days=2)
    requests, _ = run_requests(instance, Freshness(hours, (earlier, DAY), ()), NOW)
    assert [request.job_name for request in requests] == [HOURLY, DAILY]
    assert requests[1].tags[RANGE_END] == f"{earlier}"
    run(instance, HOURLY, dg.DagsterRunStatus.STARTED, "2026-11-24-12:00", "2026-11-24-13:00")
    assert run_requests(instance, Freshness((), (DAY,), ()), NOW)[0] == []
    requests, _ = run_requests(instance, Freshness((HOUR,), (earlier,), ()), NOW)
    assert [request.job_name for request in requests] == [HOURLY, DAILY]


def test_failed_hour_is_requested_again_with_growing_pauses(instance: dg.DagsterInstance) -> None:
    """10 s, 20 s, ... so that a lasting fault does not fill the run list. Shows G14."""
    for failures, pause in ((1, 10), (2, 20), (3, 40)):
        run(instance, HOURLY, dg.DagsterRunStatus.FAILURE)
        ended = datetime.now(UTC)
        requests, waiting = run_requests(instance, STALE, ended + timedelta(seconds=pause - 5))
        assert requests == [], failures
        assert f"its last {failures} runs failed" in waiting[0]
        later = ended + timedelta(seconds=pause + 1)
        assert len(run_requests(instance, STALE, later)[0]) == 1


def test_hours_of_a_failed_run_are_retried_alone(instance: dg.DagsterInstance) -> None:
    """One of them may be to blame, and would keep all of them from being built."""
    now = datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=ago) for ago in (9, 8, 7, 6)]
    keys = [hour.strftime(HOUR_KEY) for hour in hours]
    run(instance, HOURLY, dg.DagsterRunStatus.FAILURE, keys[1], keys[3])
    soon = now + timedelta(seconds=15)
    requests, waiting = run_requests(instance, Freshness(tuple(hours), (), ()), soon)
    assert ranges(requests) == [(HOURLY, key, key) for key in (keys[3], keys[2])]
    assert waiting == [f"{HOURLY} has 2 unfinished runs"]


def test_success_ends_the_pauses(instance: dg.DagsterInstance) -> None:
    run(instance, HOURLY, dg.DagsterRunStatus.FAILURE)
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS)
    assert len(run_requests(instance, STALE, datetime.now(UTC))[0]) == 1


def test_current_day_is_built_every_fifteen_minutes_while_toots_keep_coming(
    instance: dg.DagsterInstance,
) -> None:
    """Once they rest, after a minute."""
    run(instance, DAILY, dg.DagsterRunStatus.SUCCESS, f"{DAY}")
    now = datetime.now(UTC)

    def jobs(freshness: Freshness, minutes: float) -> list[str | None]:
        later = now + timedelta(minutes=minutes)
        return [request.job_name for request in run_requests(instance, freshness, later)[0]]

    behind = Freshness((HOUR,), (DAY,), ())
    between = Freshness((), (DAY,), (), newest=now + timedelta(minutes=2))
    at_rest = Freshness((), (DAY,), (), newest=now)
    assert [jobs(behind, minutes) for minutes in (0, 2, 16)] == [[HOURLY]] * 2 + [[HOURLY, DAILY]]
    assert jobs(between, 2) == [], "the hours are current, but more is coming"
    assert [jobs(at_rest, minutes) for minutes in (0, 2)] == [[], [DAILY]]


def test_ticks_and_runs_make_every_table_current(instance: dg.DagsterInstance, lake: Lake) -> None:
    """Hours, then a run for their days, then nothing: for a late and a new toot. Shows G14."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    late = this_hour - timedelta(hours=26)
    land(lake, record(created_at=this_hour), record(uri="b", status_id="2", created_at=late))
    source = LocalLakeResource(root=lake.layout.root)
    cursor, jobs = str(Cursor()), []
    for _ in range(4):
        result = tick(instance, lake, cursor)
        cursor = str(result.cursor)
        jobs.append(sorted({str(request.job_name) for request in result.run_requests or []}))
        for request in result.run_requests or []:
            job = definitions.resolve_job_def(str(request.job_name))
            outcome = job.execute_in_process(
                instance=instance, tags=request.tags, resources={"lake": source}
            )
            assert outcome.success
    assert jobs == [[], [DAILY], [], []]
    for hour in (this_hour, late):
        assert [row["toots"] for row in rows(lake, lake.layout.toots_per_server(hour))] == [1]
        daily = lake.layout.daily("daily_usage", hour.date())
        assert [row["toots"] for row in rows(lake, daily)] == [1]
