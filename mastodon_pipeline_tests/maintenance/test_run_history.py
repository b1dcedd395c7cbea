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
from mastodon_pipeline.maintenance.run_history import Purge, purge_superseded_runs, runs_shown
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
def counted_well(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Passes."""
    return dg.AssetCheckResult(passed=True)


@dg.op
def look_op(context: dg.OpExecutionContext) -> None:
    """Observes the table."""
    context.log_event(dg.AssetObservation("counted", metadata={"seen": 1}))


@dg.job(executor_def=dg.in_process_executor)
def look() -> None:
    """One op."""
    look_op()


@dg.op(config_schema={"fail": bool})
def break_op(context: dg.OpExecutionContext) -> None:
    """Fails when asked to."""
    if context.op_config["fail"]:
        raise dg.Failure("asked to")


@dg.job(executor_def=dg.in_process_executor)
def breakable() -> None:
    """One op."""
    break_op()


refresh = dg.define_asset_job(
    "refresh", dg.AssetSelection.assets(counted), executor_def=dg.in_process_executor
)
refresh_unchecked = dg.define_asset_job(
    "refresh_unchecked",
    dg.AssetSelection.assets(counted) - dg.AssetSelection.checks(counted_well),
    executor_def=dg.in_process_executor,
)


@dg.asset
def chart() -> None:
    """One without partitions."""


draw = dg.define_asset_job(
    "draw", dg.AssetSelection.assets(chart), executor_def=dg.in_process_executor
)
TINY = dg.Definitions(
    [counted, chart],
    asset_checks=[counted_well],
    jobs=[refresh, refresh_unchecked, draw, look, breakable],
)
JOBS = ("refresh", "look", "breakable")
KEY, CHECK = counted.key, dg.AssetCheckKey(counted.key, "counted_well")


class Home:
    """A Dagster home of its own, and what is done in it."""

    def __init__(self, instance: dg.DagsterInstance, home: Path) -> None:
        self.instance, self.home = instance, home

    def refresh(self, partition: str, rows: int, *, job: str = "refresh", **tags: str) -> str:
        """Materialises one partition, with its check; returns the run's id."""
        done = TINY.resolve_job_def(job).execute_in_process(
            instance=self.instance, partition_key=partition, tags={"rows": str(rows), **tags}
        )
        return done.run_id

    def run(self, job: str, **op_config: bool) -> str:
        """Runs a job of one op to its end, good or bad; returns the run's id."""
        config = {"ops": {"break_op": {"config": op_config}}} if op_config else {}
        done = TINY.resolve_job_def(job).execute_in_process(
            instance=self.instance, run_config=config, raise_on_error=False
        )
        return done.run_id

    def purge(self, days_later: float = 1.01, *, days: int = 1, limit: int = 500) -> Purge:
        """Purges with a retention of a day, as if it were so much later."""
        now = datetime.now(UTC) + timedelta(days=days_later)
        return purge_superseded_runs(
            self.instance, JOBS, [CHECK], days=days, now=now, limit=limit, log=lambda _: None
        )

    def runs(self) -> set[str]:
        """The ids of the runs that Dagster knows."""
        return {run.run_id for run in self.instance.get_runs()}

    def files(self) -> dict[str, int]:
        """The bytes of files by their path, those of runs alone."""
        found = (path for path in self.home.rglob("*") if path.is_file())
        return {
            str(path.relative_to(self.home)): path.stat().st_size
            for path in found
            if "-" in str(path.relative_to(self.home))
        }


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    """Dagster's default storage."""
    (tmp_path / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        yield Home(instance, tmp_path)


def test_what_the_catalog_shows_survives(home: Home) -> None:
    """The newest run of each partition stays, the runs before it go, with every file of theirs."""
    kept = {home.refresh(BEFORE, 7)}
    gone = {home.refresh(TODAY, rows) for rows in (1, 2, 3, 4)}
    kept.add(last := home.refresh(TODAY, 5))
    gone |= {home.run("look"), home.run("look")}
    kept.add(observed := home.run("look"))
    before = home.files()

    purged = home.purge()

    assert (purged.deleted, purged.retained) == (6, 3)
    assert home.runs() == kept
    after = home.files()
    assert purged.bytes == sum(before.values()) - sum(after.values())
    assert purged.bytes > 6 * 100_000
    assert not [path for path in after if any(run_id in path for run_id in gone)]
    assert all(any(run_id in path for path in after) for run_id in kept)

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


def test_each_kind_of_event_keeps_its_run(home: Home) -> None:
    """Of no job in particular, so by its newest events alone."""
    home.refresh(TODAY, 1)
    checked = home.refresh(TODAY, 2)
    refreshed = home.refresh(TODAY, 3, job="refresh_unchecked")
    home.run("draw")
    drawn = home.run("draw")
    home.run("look")
    looked = home.run("look")
    assert runs_shown(home.instance, [], []) == {refreshed, drawn, looked}
    assert runs_shown(home.instance, [], [CHECK]) == {refreshed, drawn, looked, checked}


def test_a_run_of_several_partitions_stays_for_one(home: Home) -> None:
    """It goes when the last of its partitions has been refreshed."""
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


def test_young_and_unfinished_runs_stay(home: Home) -> None:
    """By when they ended; a run that never does stays for ever."""
    begun = home.instance.create_run_for_job(TINY.resolve_job_def("look")).run_id
    runs = [home.run("look"), home.run("look")]
    assert home.purge(0.96).deleted == 0
    assert home.purge(99, days=0) == Purge()
    assert home.purge(99).deleted == 1
    assert home.runs() == {begun, runs[-1]}


def test_a_failed_run_stays_for_a_week(home: Home) -> None:
    """And a job's newest failure as long as it is the newest."""
    failures = [home.run("breakable", fail=True), home.run("breakable", fail=True)]
    good = home.run("breakable", fail=False)
    assert home.purge(6).deleted == 0
    assert home.purge(8).deleted == 1
    assert home.runs() == {failures[-1], good}


def test_a_backfills_runs_stay(home: Home) -> None:
    """Its page lists them."""
    of_backfill = home.refresh(TODAY, 1, **{"dagster/backfill": "abcdefgh"})
    home.refresh(TODAY, 2)
    assert home.purge().deleted == 0
    assert of_backfill in home.runs()


def test_a_portion_at_a_time_and_what_a_killed_purge_left(home: Home) -> None:
    """The oldest first; files whose run is gone are found whoever deleted it."""
    runs = [home.run("look") for _ in range(4)]
    assert home.purge(limit=1).deleted == 1
    assert home.runs() == set(runs[1:])
    home.instance.delete_run(runs[1])
    assert any(runs[1] in path for path in home.files())
    assert home.purge(limit=1).deleted == 1
    assert home.runs() == {runs[3]}
    assert all(runs[3] in path for path in home.files())


def test_the_job_runs_as_dagster_starts_it(home: Home) -> None:
    """In a process of its own, for jobs that exist; its own run is among what it looks at."""
    assert set(PURGED_JOBS) <= {job.name for job in defs.resolve_all_job_defs()}
    command = "job execute -m mastodon_pipeline.definitions -j run_history_maintenance"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), *command.split()],
        env=os.environ | {"DAGSTER_HOME": str(home.home), "RUN_HISTORY_DAYS": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run,) = home.instance.get_runs()
    assert (run.job_name, run.status) == (PURGED_JOBS[-1], dg.DagsterRunStatus.SUCCESS)
