"""`landed_toots_sensor` requests what is stale: at once, once, and again after a failure."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import duckdb
import pytest

from mastodon_pipeline.lake import resource
from mastodon_pipeline.lake.files import StoredFile
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partitions import HOUR_KEY, RANGE_END, RANGE_START
from mastodon_pipeline.usage.refreshing import in_tick, sensor
from mastodon_pipeline.usage.refreshing.freshness import Cursor, Freshness
from mastodon_pipeline.usage.refreshing.in_tick import HourBuilder
from mastodon_pipeline.usage.refreshing.sensor import (
    ABANDONED,
    DAEMON_ASKS_AGAIN,
    landed_toots_sensor,
    run_requests,
)
from mastodon_pipeline.usage.remembered_day import FirstDay, load_first_day, save_first_day
from mastodon_pipeline.usage.tables.hourly import HOURLY_TABLES
from mastodon_pipeline.usage.tables.table import BuiltPartition
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    land,
    record,
    rows,
)

pytestmark = pytest.mark.thorough

HOURLY, DAILY = "refresh_hourly_usage", "refresh_daily_usage"
NOW = HOUR + timedelta(minutes=30)
TICKS = [0]
"""Evaluations so far."""
STALE = Freshness(stale_hours=(HOUR,), stale_days=(), ignored=())


@pytest.fixture(autouse=True)
def builder(monkeypatch: pytest.MonkeyPatch) -> HourBuilder:
    """A separate memory of builds within ticks, to which each tick is ten minutes after another."""
    separate = HourBuilder(lambda: TICKS[-1] * 600.0)
    monkeypatch.setattr(sensor, "HOURS", separate)
    return separate


class Clock:
    """A clock that stands still; its builds take a second."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        self.seconds += 0.5
        return self.seconds


def run(
    instance: dg.DagsterInstance,
    job: str,
    status: dg.DagsterRunStatus,
    first: str = "2026-11-24-15:00",
    last: str | None = None,
) -> str:
    """Create a run of this job for these partitions that has just reached this status; its id."""
    tags = {RANGE_START: first, RANGE_END: last or first}
    created = instance.create_run_for_job(
        job_def=definitions.resolve_job_def(job), status=status, tags=tags
    )
    assert created.status == status
    return created.run_id


def ranges(requests: Iterable[dg.RunRequest]) -> list[tuple[str | None, str, str]]:
    """Job, first and last partition of each request."""
    return [
        (request.job_name, request.tags[RANGE_START], request.tags[RANGE_END])
        for request in requests
    ]


def tick(instance: dg.DagsterInstance, lake: Lake, cursor: str | None = None) -> dg.SensorResult:
    """Evaluate the sensor once."""
    TICKS.append(TICKS[-1] + 1)
    context = dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        definitions=definitions,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
    )
    result = landed_toots_sensor(context)
    assert isinstance(result, dg.SensorResult)
    return result


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
    assert first.day == (now - timedelta(days=1)).date().replace(day=1)
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


def hourly(result: dg.SensorResult) -> list[tuple[str | None, str, str]]:
    """The runs of hours that a tick requested."""
    requests = result.run_requests or []
    return ranges(request for request in requests if request.job_name == HOURLY)


def materialized(result: dg.SensorResult) -> dict[str, set[str | None]]:
    """The partitions of each table that a tick reported as materialized."""
    tables: dict[str, set[str | None]] = {}
    for event in result.asset_events:
        if isinstance(event, dg.AssetMaterialization):
            tables.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return tables


def test_tick_builds_and_checks_the_running_hour_without_a_run(
    instance: dg.DagsterInstance, lake: Lake
) -> None:
    """Each toot once, from the files that are new and those before. Shows G14."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    for number in range(3):
        # The second file brings a toot of the first again.
        toots = [record(uri=f"{each}", created_at=this_hour) for each in (number, number + 1)]
        land(lake, *toots, name=f"{number}")
        result = tick(instance, lake)
        assert hourly(result) == []
        counts = rows(lake, lake.layout.toots_per_server(this_hour))
        assert [row["toots"] for row in counts] == [number + 2]
        key = this_hour.strftime(HOUR_KEY)
        assert materialized(result) == {table.name: {key} for table in HOURLY_TABLES}
        checks = [e for e in result.asset_events if isinstance(e, dg.AssetCheckEvaluation)]
        assert {check.check_name for check in checks} == {
            "no_duplicate_toots",
            "hour_equals_recount",
            "hashtags_equal_recount",
        }
        assert all(check.passed for check in checks)


def test_removed_landed_file_leaves_the_running_hour(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was copied from it is not counted any more, once all files are listed again."""
    monkeypatch.setattr(resource, "COMPLETE_EVERY_SECONDS", 0.0)
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(uri="a", created_at=this_hour), name="a")
    land(lake, record(uri="b", created_at=this_hour), name="b")
    cursor = str(tick(instance, lake).cursor)
    (removed,) = Path(lake.layout.root).glob("topics/**/b.parquet")
    removed.unlink()
    tick(instance, lake, cursor)
    assert [row["uri"] for row in rows(lake, lake.layout.toots(this_hour))] == ["a"]


def test_unchanged_outcome_is_not_reported_at_each_tick(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster's storage keeps each report for good; a table is built all the same."""
    monkeypatch.setattr(sensor, "HOURS", HourBuilder(lambda: TICKS[-1] * 40.0))
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    reports = []
    for number in range(3):
        land(lake, record(uri=f"{number}", created_at=this_hour), name=f"{number}")
        reports.append(len(materialized(tick(instance, lake))))
    assert reports == [len(HOURLY_TABLES), 0, 0]
    assert len(rows(lake, lake.layout.toots(this_hour))) == 3


def test_hour_just_built_within_a_tick_rests_for_a_multiple_of_what_that_took(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the tick nor a run builds it meanwhile."""
    monkeypatch.setattr(sensor, "HOURS", HourBuilder(clock := Clock()))
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(uri="a", created_at=this_hour), name="a")
    tick(instance, lake)
    land(lake, record(uri="b", created_at=this_hour), name="b")
    assert hourly(tick(instance, lake)) == []
    assert len(rows(lake, lake.layout.toots(this_hour))) == 1
    clock.seconds += 60
    tick(instance, lake)
    assert len(rows(lake, lake.layout.toots(this_hour))) == 2


def test_backlog_of_past_hours_is_left_to_runs(instance: dg.DagsterInstance, lake: Lake) -> None:
    """The running hour does not wait for it."""
    now = datetime.now(UTC)
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    hours = [this_hour - timedelta(hours=ago) for ago in (0, 4, 6, 8)]
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in hours))
    result = tick(instance, lake)
    assert len(rows(lake, lake.layout.toots(this_hour))) == 1
    keys = [hour.strftime(HOUR_KEY) for hour in hours[1:3]]
    assert hourly(result) == [(HOURLY, key, key) for key in keys]


def test_large_hour_is_left_to_a_run(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tick may take a minute."""
    monkeypatch.setattr(in_tick, "MAX_BYTES", 100)
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    land(lake, record(created_at=this_hour))
    key = this_hour.strftime(HOUR_KEY)
    assert hourly(tick(instance, lake)) == [(HOURLY, key, key)]


def test_hour_that_cannot_be_built_within_a_tick_is_left_to_a_run(
    instance: dg.DagsterInstance, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its failure stops no other hour, and a run shows it. Shows G14."""
    this_hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    other = this_hour - timedelta(hours=4)
    land(lake, *(record(uri=f"{hour}", created_at=hour) for hour in (this_hour, other)))
    toots, *counts = HOURLY_TABLES
    build = toots.build

    def fail(lake: Lake, hour: datetime) -> BuiltPartition:
        if hour == this_hour:
            raise duckdb.IOException("the disk is full")
        return build(lake, hour)

    monkeypatch.setattr(in_tick, "HOURLY_TABLES", (replace(toots, build=fail), *counts))
    key = this_hour.strftime(HOUR_KEY)
    assert hourly(tick(instance, lake)) == [(HOURLY, key, key)]
    assert len(rows(lake, lake.layout.toots(other))) == 1


def test_hour_that_is_over_is_built_once_more_by_a_run(instance: dg.DagsterInstance) -> None:
    """It is recounted from the landed files themselves, once its last toots have landed."""
    over = Freshness((), (), (), last_hour=HOUR)
    end = HOUR + timedelta(hours=1)
    assert run_requests(instance, over, end + timedelta(minutes=2))[0] == []
    later = end + timedelta(minutes=4)
    key = HOUR.strftime(HOUR_KEY)
    assert ranges(run_requests(instance, over, later)[0]) == [(HOURLY, key, key)]
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS, key)  # now, which is later
    assert run_requests(instance, over, datetime.now(UTC) + timedelta(minutes=1))[0] == []


def test_late_toots_of_a_past_hour_of_many_files_are_collected(
    instance: dg.DagsterInstance,
) -> None:
    """Each build of it reads all of them."""
    run(instance, HOURLY, dg.DagsterRunStatus.SUCCESS)
    now = datetime.now(UTC)
    files = [StoredFile(f"{number}", "", HOUR, 1) for number in range(360)]
    late = Freshness((HOUR,), (), (), landed={HOUR: files})
    assert run_requests(instance, late, now + timedelta(minutes=4))[0] == []
    assert len(run_requests(instance, late, now + timedelta(minutes=6))[0]) == 1
