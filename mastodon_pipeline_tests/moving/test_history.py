"""Dagster's history, copied from SQLite files into the database of a real PostgreSQL server."""

import sqlite3
import time
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy as db
from dagster._core.storage.runs.schema import RunStorageSqlMetadata
from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

from infra.native_stack.pipeline_programs import instance_configuration
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, with_driver
from mastodon_pipeline.errors import HistoryUnavailable, MoveError
from mastodon_pipeline.event_log import open_instance
from mastodon_pipeline.moving.history import await_silence, copy_history
from mastodon_pipeline_tests.support.postgres import PostgresServer

pytestmark = pytest.mark.thorough
HOURS = dg.HourlyPartitionsDefinition("2026-11-27-00:00")
RUNS_FILE, TICKS_FILE = Path("history", "runs.db"), Path("schedules", "schedules.db")


@dg.asset(partitions_def=HOURS)
def toots() -> int:
    return 42


@dg.asset(partitions_def=HOURS, deps=[toots])
def counts() -> int:
    return 1


@dg.asset_check(asset=counts)
def counts_are_right() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a history in SQLite files, as the stack makes it."""
    monkeypatch.delenv(POSTGRES_VARIABLE, raising=False)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text(instance_configuration(postgres=False))
    with open_instance(tmp_path) as instance:
        for hour in (0, 1):
            build(instance, hour)
            runless = dg.AssetMaterialization("landed", metadata={"hour": hour})
            instance.report_runless_asset_event(runless)
        instance.daemon_cursor_storage.set_cursor_values({"mastodon_listener/group-1": "{}"})
    with closing(sqlite3.connect(tmp_path / TICKS_FILE)) as ticks:
        ticks.execute(
            "INSERT INTO instigators (selector_id, status, instigator_type, instigator_body)"
            " VALUES ('a', 'RUNNING', 'SENSOR', '{\"cursor\": \"7\"}')"
        )
        ticks.execute(
            "INSERT INTO job_ticks (selector_id, status, type, timestamp, tick_body)"
            " VALUES ('a', 'SUCCESS', 'SENSOR', '2026-11-27 01:02:03.000004', '{}')"
        )
        ticks.commit()
    return tmp_path


def build(instance: dg.DagsterInstance, hour: int) -> str:
    done = dg.materialize(
        [toots, counts, counts_are_right],
        instance=instance,
        partition_key=f"2026-11-27-{hour:02}:00",
    )
    return done.run_id


def rows(engine: db.Engine, table: db.Table) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(db.select(table).order_by(table.c.id))]


def seen(instance: dg.DagsterInstance) -> dict[str, object]:
    """What a person, a sensor or a check reads of a history."""
    runs = sorted(run.run_id for run in instance.get_runs())
    key = dg.AssetKey("counts")
    latest = instance.get_latest_materialization_event(dg.AssetKey("landed"))
    assert latest is not None
    assert latest.asset_materialization is not None
    [check] = instance.event_log_storage.get_asset_check_execution_history(
        dg.AssetCheckKey(key, "counts_are_right"), limit=1
    )
    return {
        "logs": {run: [e.message for e in instance.all_logs(run)] for run in runs},
        "partitions": instance.get_materialized_partitions(key),
        "newest of an hour": {
            partition: instance.event_log_storage.get_latest_storage_id_by_partition(
                key, dg.DagsterEventType.ASSET_MATERIALIZATION
            )[partition]
            == max(
                record.storage_id
                for record in instance.fetch_materializations(key, limit=9).records
                if record.partition_key == partition
            )
            for partition in instance.get_materialized_partitions(key)
        },
        "landed": latest.asset_materialization.metadata["hour"].value,
        "check": (check.status, check.run_id),
        "state": instance.daemon_cursor_storage.get_cursor_values({"mastodon_listener/group-1"}),
    }


def test_everything_is_as_before_and_goes_on(
    home: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(home) as instance:
        before = seen(instance)
    assert copy_history(home, with_driver(database), print) == 2

    target = db.create_engine(with_driver(database))
    for metadata, file in (
        (RunStorageSqlMetadata, RUNS_FILE),
        (ScheduleStorageSqlMetadata, TICKS_FILE),
    ):
        source = db.create_engine(f"sqlite:///{home / file}")
        for table in metadata.sorted_tables:
            if table.name != "secondary_indexes":
                assert rows(target, table) == rows(source, table), table.name
        source.dispose()
    target.dispose()

    monkeypatch.setenv(POSTGRES_VARIABLE, database)
    (home / "dagster.yaml").write_text(instance_configuration(postgres=True))
    with open_instance(home) as instance:
        assert seen(instance) == before
        [record] = instance.fetch_materializations(dg.AssetKey("counts"), limit=1).records
        event = record.event_log_entry
        pointer = event.tags["dagster/input_event_pointer/toots"] if event.tags else ""
        if event.asset_materialization and event.asset_materialization.tags:
            pointer = event.asset_materialization.tags["dagster/input_event_pointer/toots"]
        toots_ids = instance.fetch_materializations(dg.AssetKey("toots"), limit=9).records
        assert int(pointer) in {record.storage_id for record in toots_ids}

        newest = build(instance, 1)
        [record] = instance.fetch_materializations(dg.AssetKey("counts"), limit=1).records
        assert record.run_id == newest, "its id comes after those that were copied"


def test_second_copy_is_refused_and_changes_nothing(home: Path, database: str) -> None:
    copy_history(home, with_driver(database), print)
    with pytest.raises(MoveError, match=r"already has a history .*nothing was copied"):
        copy_history(home, with_driver(database), print)


def test_history_of_a_running_dagster_is_not_copied(home: Path, tmp_path: Path) -> None:
    """Its daemons send a heartbeat every half minute."""
    file = home / RUNS_FILE

    def beat(seconds_ago: float) -> None:
        with closing(sqlite3.connect(file)) as runs:
            runs.execute("DELETE FROM daemon_heartbeats")
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(time.time() - seconds_ago))
            runs.execute(
                "INSERT INTO daemon_heartbeats (daemon_type, timestamp) VALUES ('SENSOR', ?)", [at]
            )
            runs.commit()

    beat(seconds_ago=3600)
    await_silence(file, pytest.fail)
    beat(seconds_ago=30)
    with pytest.raises(MoveError, match="make down"):
        await_silence(file, lambda _: beat(seconds_ago=0), silence_seconds=600)


def test_home_without_a_history_is_named(tmp_path: Path, database: str) -> None:
    with pytest.raises(MoveError, match="holds no history"):
        copy_history(tmp_path, with_driver(database), print)


def test_database_that_is_away_is_named_without_its_password(
    home: Path, server: PostgresServer
) -> None:
    url = server.url().replace(str(server.port), "9")
    with pytest.raises(HistoryUnavailable, match=r"PostgreSQL at 127.0.0.1:9/postgres") as error:
        copy_history(home, with_driver(url), print)
    assert "sesame" not in str(error.value)
