"""The purge of superseded runs, on a real Dagster instance with its SQLite files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.definitions import defs
from mastodon_pipeline.maintenance.run_history import (
    Purge,
    purge_naming_runs,
    purge_superseded_runs,
    runs_shown,
)
from mastodon_pipeline.maintenance.run_history_job import PURGED_JOBS

pytestmark = pytest.mark.thorough

HOURS = dg.HourlyPartitionsDefinition("2026-01-01-00:00")
TODAY, BEFORE = "2026-01-02-01:00", "2026-01-02-00:00"


@dg.asset(partitions_def=HOURS)
def counted(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """One hour's table; prints, so that there are compute logs."""
    print("counting")
    rows = int(context.run.tags["rows"])
    return dg.MaterializeResult(metadata={"dagster/row_count": rows})


@dg.asset_check(asset=counted)
def count_is_right(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Always passes."""
    return dg.AssetCheckResult(passed=True)


@dg.op
def observe_op(context: dg.OpExecutionContext) -> None:
    """Observe the table."""
    context.log_event(dg.AssetObservation("counted", metadata={"seen": 1}))


@dg.job(executor_def=dg.in_process_executor)
def observe() -> None:
    """One op."""
    observe_op()


@dg.op(config_schema={"fail": bool})
def break_op(context: dg.OpExecutionContext) -> None:
    """Fail if configured to."""
    if context.op_config["fail"]:
        raise dg.Failure("as configured")


@dg.job(executor_def=dg.in_process_executor)
def breakable() -> None:
    """One op."""
    break_op()


refresh = dg.define_asset_job(
    "refresh", dg.AssetSelection.assets(counted), executor_def=dg.in_process_executor
)
refresh_unchecked = dg.define_asset_job(
    "refresh_unchecked",
    dg.AssetSelection.assets(counted) - dg.AssetSelection.checks(count_is_right),
    executor_def=dg.in_process_executor,
)


@dg.asset
def chart() -> None:
    """An asset without partitions."""


draw = dg.define_asset_job(
    "draw", dg.AssetSelection.assets(chart), executor_def=dg.in_process_executor
)
TINY = dg.Definitions(
    [counted, chart],
    asset_checks=[count_is_right],
    jobs=[refresh, refresh_unchecked, draw, observe, breakable],
)
JOBS = ("refresh", "observe", "breakable")
KEY, CHECK = counted.key, dg.AssetCheckKey(counted.key, "count_is_right")


class Home:
    """A separate Dagster home, and what a test does in it."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.instance, self.home = instance, home

    def refresh(self, partition: str, rows: int, *, job: str = "refresh", **tags: str) -> str:
        """Materialise one partition, with its check; return the run's id."""
        done = TINY.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, tags={"rows": str(rows), **tags}
        )
        return done.run_id

    def run(self, job: str, **op_config: bool) -> str:
        """Run a job of one op, whether it succeeds or fails; return the run's id."""
        config = {"ops": {"break_op": {"config": op_config}}} if op_config else {}
        done = TINY.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=config, raise_on_error=False
        )
        return done.run_id

    def purge(self, days_later: float = 1.01, *, days: int = 1, limit: int = 500) -> Purge:
        """Purge, with a retention of a day, as if `days_later` had passed."""
        now = datetime.now(UTC) + timedelta(days=days_later)
        return purge_superseded_runs(
            self.instance, JOBS, [CHECK], days=days, now=now, limit=limit, log=lambda _: None
        )

    def runs(self) -> set[str]:
        """Return the ids of the runs that Dagster has."""
        return {run.run_id for run in self.instance.get_runs()}

    def files(self) -> dict[str, int]:
        """Return the sizes of the runs' files, by path."""
        paths = (path for path in self.home.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.home)): path.stat().st_size
            for path in paths
            if "-" in str(path.relative_to(self.home))
        }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """A home with Dagster's default storage."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield Home(instance, tmp_path)


def test_runs_that_the_catalog_shows_are_retained(home: Home) -> None:
    """The newest run of each partition stays; earlier runs are deleted, with all their files.

    Shows G22.
    """
    retained = {home.refresh(BEFORE, 7)}
    deleted = {home.refresh(TODAY, rows) for rows in (1, 2, 3, 4)}
    retained.add(last := home.refresh(TODAY, 5))
    deleted |= {home.run("observe"), home.run("observe")}
    retained.add(observed := home.run("observe"))
    before = home.files()

    purge = home.purge()

    assert (purge.deleted, purge.retained) == (6, 3)
    assert home.runs() == retained
    after = home.files()
    assert purge.bytes == sum(before.values()) - sum(after.values())
    assert purge.bytes > 6 * 100_000
    assert not [path for path in after if any(run_id in path for run_id in deleted)]
    assert all(any(run_id in path for path in after) for run_id in retained)

    assert home.instance.get_materialized_partitions(KEY) == {BEFORE, TODAY}
    newest = home.instance.get_latest_materialization_event(KEY)
    assert newest is not None
    assert newest.run_id == last
    for partition, rows in ((BEFORE, 7), (TODAY, 5)):
        of_partition = dg.AssetRecordsFilter(KEY, asset_partitions=[partition])
        (record,) = home.instance.fetch_materializations(of_partition, limit=9).records
        assert record.asset_materialization is not None
        assert record.asset_materialization.metadata["dagster/row_count"].value == rows
    checked = home.instance.get_latest_asset_check_evaluation_record(CHECK)
    assert checked is not None
    assert (checked.run_id, checked.status.value) == (last, "SUCCEEDED")
    (observation,) = home.instance.fetch_observations(KEY, limit=9).records
    assert observation.run_id == observed


def test_newest_event_of_each_kind_retains_its_run(home: Home) -> None:
    """No jobs are given, so by the newest events alone."""
    home.refresh(TODAY, 1)
    checked = home.refresh(TODAY, 2)
    refreshed = home.refresh(TODAY, 3, job="refresh_unchecked")
    home.run("draw")
    drawn = home.run("draw")
    home.run("observe")
    observed = home.run("observe")
    assert runs_shown(home.instance, [], []) == {refreshed, drawn, observed}
    assert runs_shown(home.instance, [], [CHECK]) == {refreshed, drawn, observed, checked}


def test_run_of_several_partitions_is_retained_for_one_of_them(home: Home) -> None:
    """It is deleted once all of its partitions have been refreshed."""
    tags = {
        "dagster/asset_partition_range_start": BEFORE,
        "dagster/asset_partition_range_end": TODAY,
        "rows": "1",
    }
    job = TINY.resolve_job_def("refresh")
    both = job.execute_in_process(instance=home.instance, tags=tags).run_id
    home.refresh(TODAY, 2)
    assert home.purge().deleted == 0
    home.refresh(BEFORE, 3)
    assert home.purge().deleted == 1
    assert both not in home.runs()
    assert home.instance.get_materialized_partitions(KEY) == {BEFORE, TODAY}


def test_young_and_unfinished_runs_are_retained(home: Home) -> None:
    """A run's age counts from its end; a run that never ends is never deleted."""
    unfinished = home.instance.create_run_for_job(TINY.resolve_job_def("observe")).run_id
    runs = [home.run("observe"), home.run("observe")]
    assert home.purge(0.96).deleted == 0
    assert home.purge(99, days=0) == Purge()
    assert home.purge(99).deleted == 1
    assert home.runs() == {unfinished, runs[-1]}


def test_failed_run_is_retained_for_a_week(home: Home) -> None:
    """A job's newest failure is retained as long as it is the newest. Shows G22."""
    failures = [home.run("breakable", fail=True), home.run("breakable", fail=True)]
    good = home.run("breakable", fail=False)
    assert home.purge(6).deleted == 0
    assert home.purge(8).deleted == 1
    assert home.runs() == {failures[-1], good}


def test_runs_that_name_a_person_are_gone_after_a_day(home: Home) -> None:
    """The newest and the failed ones too, with their files; those of other jobs stay. Shows P7."""
    runs = {home.run("breakable", fail=fail) for fail in (True, False)}
    other = home.run("observe")
    later = datetime.now(UTC) + timedelta(days=1)
    assert purge_naming_runs(home.instance, ["breakable"], later - timedelta(minutes=1)) == 0
    assert home.runs() == {*runs, other}
    assert purge_naming_runs(home.instance, ["breakable"], later + timedelta(minutes=1)) == 2
    assert home.runs() == {other}
    assert all(other in path for path in home.files())


def test_runs_of_a_backfill_are_retained(home: Home) -> None:
    """The backfill's page lists them."""
    of_backfill = home.refresh(TODAY, 1, **{"dagster/backfill": "abcdefgh"})
    home.refresh(TODAY, 2)
    assert home.purge().deleted == 0
    assert of_backfill in home.runs()


def test_purge_is_bounded_and_continues_a_killed_one(home: Home) -> None:
    """The oldest runs first; files of a run that a killed purge deleted are removed too."""
    runs = [home.run("observe") for _ in range(4)]
    assert home.purge(limit=1).deleted == 1
    assert home.runs() == set(runs[1:])
    home.instance.delete_run(runs[1])
    assert any(runs[1] in path for path in home.files())
    assert home.purge(limit=1).deleted == 1
    assert home.runs() == {runs[3]}
    assert all(runs[3] in path for path in home.files())


def test_job_runs_as_dagster_starts_it(home: Home) -> None:
    """In a separate process, and for jobs that exist."""
    assert set(PURGED_JOBS) <= {job.name for job in defs.resolve_all_job_defs()}
    command = "job execute -m mastodon_pipeline.definitions -j run_history_maintenance"
    process = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), *command.split()],
        env=os.environ | {"DAGSTER_HOME": str(home.home), "RUN_HISTORY_DAYS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert process.returncode == 0, process.stdout + process.stderr
    (run,) = home.instance.get_runs()
    assert (run.job_name, run.status) == (PURGED_JOBS[-1], dg.DagsterRunStatus.SUCCESS)
