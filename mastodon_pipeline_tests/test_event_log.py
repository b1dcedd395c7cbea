"""The event log that is written in batches, against Dagster's own."""

import operator
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.asset_check_execution_record import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES,
    AssetCheckExecutionRecord,
    AssetCheckExecutionRecordStatus,
)
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME

from infra.native_stack.programs import REPOSITORY
from mastodon_pipeline.cli import health_checks, top
from mastodon_pipeline.cli.machine_checks import Unhealthy
from mastodon_pipeline.dagster_sqlite import OpenRunStorage, OpenScheduleStorage
from mastodon_pipeline.event_log import BatchedEventLogStorage, reuse_instance
from mastodon_pipeline.settings import Settings
from mastodon_pipeline.usage.partitions import single_run

pytestmark = pytest.mark.thorough

HOURS = dg.HourlyPartitionsDefinition("2026-11-01-00:00", end_date="2026-11-03-00:00")
FIRST, LAST = "2026-11-01-22:00", "2026-11-02-01:00"
CHECK = dg.AssetCheckSpec("is_right", asset="hourly")


@dg.asset(partitions_def=HOURS, backfill_policy=single_run, check_specs=[CHECK])
def hourly(context: dg.AssetExecutionContext) -> dg.MaterializeResult:  # type: ignore[type-arg]
    """Materialize each hour, with its key as metadata."""
    for key in context.partition_keys:
        context.add_asset_metadata({"key": key}, partition_key=key)
    return dg.MaterializeResult(check_results=[dg.AssetCheckResult(passed=True)])


JOB = dg.Definitions(assets=[hourly], jobs=[dg.define_asset_job("build", [hourly])])


def build(instance: dg.DagsterInstance) -> str:
    """Build some hours; return the run's id."""
    tags = {
        "dagster/asset_partition_range_start": FIRST,
        "dagster/asset_partition_range_end": LAST,
    }
    done = JOB.resolve_job_def("build").execute_in_process(instance=instance, tags=tags)
    assert done.success
    return done.run_id


def rows(database: Path, statement: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(statement).fetchall()


def stored(home: Path, run_id: str) -> dict[str, list[tuple[Any, ...]]]:
    """Return what the databases of a home hold of a run, but times, ids and texts."""
    index, of_run = (home / "history" / "runs" / f"{name}.db" for name in ("index", run_id))
    events = "SELECT dagster_event_type, step_key, asset_key, partition FROM event_logs ORDER BY id"
    of_assets = (
        "SELECT dagster_event_type, asset_key, partition FROM event_logs WHERE dagster_event_type"
        " LIKE 'ASSET_MAT%' ORDER BY id"
    )
    keys = (
        "SELECT asset_key, last_run_id, last_materialization IS NOT NULL,"
        " last_materialization_timestamp IS NOT NULL FROM asset_keys"
    )
    checks = "SELECT check_name, partition, execution_status FROM asset_check_executions"
    return {
        "the run": [row for row in rows(of_run, events) if row[0]],
        "the index": rows(index, of_assets),
        "assets": [(key, run == run_id, *rest) for key, run, *rest in rows(index, keys)],
        "checks": rows(index, checks),
    }


@pytest.fixture
def batched_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home as the stack makes it."""
    home = tmp_path / "batched"
    home.mkdir()
    shutil.copyfile(REPOSITORY / "infra" / "dagster" / "dagster.yaml", home / "dagster.yaml")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    # Set by the storage itself; this restores it.
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    return home


def test_batches_leave_what_single_events_would(tmp_path: Path, batched_home: Path) -> None:
    """Events of the run and of its assets, in order, and the tables that are made from them."""
    (tmp_path / "single").mkdir()
    with dg.DagsterInstance.local_temp(str(tmp_path / "single")) as instance:
        single = stored(tmp_path / "single", build(instance))
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, BatchedEventLogStorage)
        batched = stored(batched_home, build(instance))
    assert batched == single
    assert len(batched["the index"]) == 2 * 4


def test_newest_hour_of_a_batch_is_its_assets_latest(batched_home: Path) -> None:
    """Dagster shows the last event of a run, with its metadata, and knows each partition."""
    with dg.DagsterInstance.get() as instance:
        run_id = build(instance)
        latest = instance.get_latest_materialization_event(dg.AssetKey("hourly"))
        assert latest is not None
        assert latest.asset_materialization is not None
        assert latest.run_id == run_id
        assert latest.asset_materialization.partition == LAST
        assert latest.asset_materialization.metadata["key"].value == LAST
        assert len(instance.get_materialized_partitions(dg.AssetKey("hourly"))) == 4
        record = instance.get_asset_records([dg.AssetKey("hourly")])[0]
        assert record.asset_entry.last_run_id == run_id


def test_home_of_dagsters_own_storage_is_read_on(batched_home: Path) -> None:
    """A stack of an earlier version keeps its history."""
    settings = batched_home / "dagster.yaml"
    text = settings.read_text()
    settings.unlink()
    with dg.DagsterInstance.local_temp(str(batched_home)) as instance:
        earlier = build(instance)
        assert not isinstance(instance.event_log_storage, BatchedEventLogStorage)
    settings.write_text(text)
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, BatchedEventLogStorage)
        assert len(instance.get_materialized_partitions(dg.AssetKey("hourly"))) == 4
        assert instance.all_logs(earlier)
        names = "SELECT name FROM sqlite_master WHERE name LIKE 'mastodon_checks%'"
        assert len(rows(batched_home / "history" / "runs" / "index.db", names)) == 2
        assert isinstance(instance.run_storage, OpenRunStorage)
        assert isinstance(instance.schedule_storage, OpenScheduleStorage)
        later = build(instance)
        assert [run.run_id for run in instance.get_runs()] == [later, earlier]
        assert instance.all_instigator_state() == []


def test_newest_results_of_a_check_cost_the_same_after_years(batched_home: Path) -> None:
    """SQLite takes as many steps with 3,000 results as with one; none of them has failed."""
    key = dg.AssetCheckKey(dg.AssetKey("hourly"), "is_right")
    with dg.DagsterInstance.get() as instance:
        build(instance)
        storage = instance.event_log_storage
        assert isinstance(storage, BatchedEventLogStorage)
        steps = [0]

        @db.event.listens_for(storage._engine(INDEX_SHARD_NAME), "connect")
        def count(connection: sqlite3.Connection, _: object) -> None:
            connection.set_progress_handler(lambda: operator.setitem(steps, 0, steps[0] + 1), 1)

        def latest() -> AssetCheckExecutionRecord:
            return storage.get_latest_asset_check_execution_by_key([key])[key]

        history = storage.get_asset_check_execution_history
        ask: tuple[Callable[[], object], ...] = (
            latest,
            lambda: history(key, 1),
            lambda: history(key, 2, status={*COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES}),
            lambda: history(key, 20, status={AssetCheckExecutionRecordStatus.FAILED}),
        )

        def costs() -> list[int]:
            taken = []
            for question in ask:
                steps[0] = 0
                question()
                taken.append(steps[0])
            return taken

        few, first = costs(), latest().id
        with storage.index_transaction() as connection:
            columns = "asset_key, check_name, execution_status, evaluation_event, create_timestamp"
            connection.exec_driver_sql(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                f" INSERT INTO asset_check_executions ({columns}, run_id) SELECT {columns}, i"
                " FROM n, asset_check_executions WHERE execution_status = 'SUCCEEDED'"
            )
        assert latest().id == first + 3000
        for before, after in zip(few, costs(), strict=True):
            assert after < before + 100  # a deeper index, and a second row


def test_newest_results_of_checks_are_those_of_dagsters_statement(batched_home: Path) -> None:
    """A check without a result has none; the newest of the others counts."""
    key = dg.AssetCheckKey(dg.AssetKey("hourly"), "is_right")
    keys = [key, dg.AssetCheckKey(dg.AssetKey("hourly"), "never_made")]
    with dg.DagsterInstance.get() as instance:
        build(instance)
        later = build(instance)
        storage = instance.event_log_storage
        assert isinstance(storage, BatchedEventLogStorage)
        newest = storage.get_latest_asset_check_execution_by_key(keys)
        assert newest == super(
            BatchedEventLogStorage, storage
        ).get_latest_asset_check_execution_by_key(keys)
        assert {each: result.run_id for each, result in newest.items()} == {key: later}


def test_databases_of_many_runs_are_not_all_kept_open(batched_home: Path) -> None:
    """Only those used last are, and the index."""
    with dg.DagsterInstance.get() as instance:
        storage = instance.event_log_storage
        assert isinstance(storage, BatchedEventLogStorage)
        for number in range(9):
            with storage.run_connection(f"run-{number}"):
                pass
        assert len(storage._engines) <= 5


def test_commands_read_the_stacks_home_without_its_variable(
    batched_home: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person's shell has no DAGSTER_HOME, or that of something else."""
    data = tmp_path_factory.mktemp("data")
    shutil.copytree(batched_home, data / "dagster")
    monkeypatch.setenv("MASTODON_PIPELINE_DATA", str(data))
    for other in ("", str(tmp_path_factory.mktemp("other"))):
        monkeypatch.setenv("DAGSTER_HOME", other)
        if not other:
            monkeypatch.delenv("DAGSTER_HOME")
        with pytest.raises(Unhealthy, match="no daemon runs"):
            health_checks._dagster(Settings())
        assert top._states(Settings()) == {}
    assert list((data / "dagster").glob("history/**/*.db"))


def test_ticks_of_a_process_share_an_instance(batched_home: Path) -> None:
    """Each gives its home's back, and a test's own is left alone."""

    def tick(ref: InstanceRef) -> dg.DagsterInstance:
        context = dg.SensorEvaluationContext(ref, None, None, None, None)
        reuse_instance(context)
        return context.instance

    with dg.DagsterInstance.get() as instance:
        ref = instance.get_ref()
    first = tick(ref)
    assert first.get_ref() == ref
    assert tick(ref) is first
    assert first.get_run_records() == []
    with dg.DagsterInstance.ephemeral() as own:
        context = dg.build_sensor_context(instance=own)
        reuse_instance(context)
        assert context.instance is own
