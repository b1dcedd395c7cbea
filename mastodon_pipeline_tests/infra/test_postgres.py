"""Dagster's history in PostgreSQL, with a real server."""

import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.utils import make_new_run_id
from dagster_postgres import PostgresEventLogStorage
from pyiceberg.catalog.sql import IcebergTables, SqlCatalogBaseTable
from sqlalchemy import create_engine, text

from infra.native_stack.pipeline_programs import dagster_programs, instance_configuration
from infra.native_stack.programs import Installation
from mastodon_pipeline.cli.database_checks import check_catalog, check_history
from mastodon_pipeline.cli.machine_checks import Unhealthy, Waiting
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, with_driver
from mastodon_pipeline.errors import HistoryUnavailable
from mastodon_pipeline.event_log import open_instance, stored_checks
from mastodon_pipeline.landing.catalog import catalog_address
from mastodon_pipeline.settings import load_settings
from mastodon_pipeline_tests.support.postgres import PASSWORD, USER, PostgresServer, postgres_server
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home as the stack makes it where the variable is set."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    monkeypatch.setenv(POSTGRES_VARIABLE, server.url())
    (tmp_path / "dagster.yaml").write_text(instance_configuration(postgres=True))
    return tmp_path


@dg.asset
def answer() -> int:
    return 42


def build(instance: dg.DagsterInstance) -> str:
    return dg.materialize([answer], instance=instance, raise_on_error=True).run_id


def test_history_in_postgres_is_there_for_the_next_process(home: Path) -> None:
    with open_instance(home) as instance:
        run_id = build(instance)
        assert isinstance(instance.event_log_storage, PostgresEventLogStorage)
    with open_instance(home) as instance:
        assert instance.get_run_by_id(run_id) is not None
        assert instance.get_latest_materialization_event(answer.key) is not None
    assert not (home / "history").exists(), "nothing is in SQLite files"


def test_twenty_runs_that_report_at_once_are_all_recorded(home: Path) -> None:
    with open_instance(home) as instance, ThreadPoolExecutor(20) as pool:

        def report(number: int) -> str:
            run_id = make_new_run_id()
            instance.add_run(dg.DagsterRun(job_name="job", run_id=run_id))
            for partition in range(5):
                event = dg.AssetMaterialization("table", partition=f"{number}-{partition}")
                instance.report_runless_asset_event(event)
            return run_id

        runs = list(pool.map(report, range(20)))
        assert all(instance.get_run_by_id(run) is not None for run in runs)
        assert len(instance.get_materialized_partitions(dg.AssetKey("table"))) == 100


def _build_in_a_process(home: Path, barrier: Any) -> None:
    with open_instance(home) as instance:
        barrier.wait(300)
        build(instance)


def test_twenty_runs_at_once_fit_into_the_servers_default_connections(
    home: Path, server: PostgresServer
) -> None:
    """Each run is a process with storages of its own, as Dagster's are."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "dagster_postgres"])
    with open_instance(home) as instance, context.Manager() as manager:
        done = dg.RunsFilter(statuses=[dg.DagsterRunStatus.SUCCESS])
        before = instance.get_runs_count(done)
        barrier = manager.Barrier(20)
        runs = [
            context.Process(target=_build_in_a_process, args=(home, barrier)) for _ in range(20)
        ]
        for run in runs:
            run.start()
        most, engine = 0, create_engine(with_driver(server.url()))
        with engine.connect() as connection:
            while any(run.is_alive() for run in runs):
                count = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'cl%'")
                most = max(most, connection.scalar(count) or 0)
                time.sleep(0.05)
        engine.dispose()
        assert [run.exitcode for run in runs] == [0] * 20
        assert instance.get_runs_count(done) - before == 20
        assert most < 80, "of a hundred"
        print(f"{most} connections at most")


def test_doctor_says_where_the_history_is_and_what_to_do_if_it_is_away(
    home: Path, server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_instance(home):
        pass
    settings = load_settings()
    assert "answers, with" in check_history(settings)
    monkeypatch.setenv(POSTGRES_VARIABLE, server.new_database())
    with pytest.raises(Waiting, match="is empty yet"):
        check_history(settings)
    monkeypatch.setenv(POSTGRES_VARIABLE, server.url().replace(str(server.port), "9"))
    with pytest.raises(Unhealthy, match=f"127.0.0.1:9/postgres: .*correct {POSTGRES_VARIABLE}"):
        check_history(settings)
    with (
        pytest.raises(
            HistoryUnavailable, match=r"127.0.0.1:9/postgres.*refused.*start it"
        ) as error,
        open_instance(home),
    ):
        pass
    assert PASSWORD not in str(error.value)


def test_doctor_says_where_the_catalog_is_and_what_to_do_if_it_is_away(
    server: PostgresServer, tmp_path: Path
) -> None:
    database = server.new_database()
    settings = load_settings(lake_catalog_uri=database)
    with pytest.raises(Waiting, match="the sink makes it"):
        check_catalog(settings)
    engine = create_engine(with_driver(database))
    SqlCatalogBaseTable.metadata.create_all(engine)
    with engine.begin() as catalog:
        row = {"catalog_name": "lake", "table_namespace": "mastodon", "table_name": "toots_raw"}
        catalog.execute(IcebergTables.__table__.insert(), row)  # type: ignore[attr-defined]
    engine.dispose()
    assert check_catalog(settings).endswith("has mastodon.toots_raw")
    away = load_settings(lake_catalog_uri=database.replace(str(server.port), "9"))
    with pytest.raises(Unhealthy, match=r"127.0.0.1:9/.*correct LAKE_CATALOG_URI"):
        check_catalog(away)
    missing = load_settings(iceberg_catalog_uri=f"jdbc:sqlite:file:{tmp_path}/catalog.db")
    with pytest.raises(Waiting, match="the sink makes it"):
        check_catalog(missing)


def test_dashboard_finds_the_checks_that_have_a_result(home: Path) -> None:
    check = dg.AssetCheckEvaluation(
        asset_key=answer.key, check_name="is_right", passed=False, metadata={}
    )
    with open_instance(home) as instance:
        instance.report_runless_asset_event(check)
        assert dg.AssetCheckKey(answer.key, "is_right") in stored_checks(instance)


def test_server_that_was_away_is_used_again_by_the_same_process(
    home: Path, server: PostgresServer
) -> None:
    """A restarted server loses no history, and nobody has to restart Dagster."""
    with open_instance(home) as instance:
        before = build(instance)
        server.stop()
        with pytest.raises(Exception, match=r"retries|connection|server"):
            instance.get_run_by_id(before)
        server.start()
        wait_until(lambda: build(instance), "a run in the restarted database", 1200)
        assert instance.get_run_by_id(before) is not None


def test_stack_puts_dagster_into_the_database_that_is_named(
    installation: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://pipeline:sesame@db.example/dagster"
    monkeypatch.setenv(POSTGRES_VARIABLE, url)
    programs = dagster_programs(installation, {}, ())
    written = (installation.data / "dagster" / "dagster.yaml").read_text()

    assert "postgres_url" in written
    assert "sesame" not in written
    assert "SqliteEventLog" not in written
    assert "BatchedEventLogStorage" not in written
    assert "dagster_sqlite" not in written
    for program in programs:
        assert program.environment[POSTGRES_VARIABLE].startswith("postgresql+psycopg2://pipeline:")
    monkeypatch.delenv(POSTGRES_VARIABLE)
    dagster_programs(installation, {}, ())
    written = (installation.data / "dagster" / "dagster.yaml").read_text()
    assert "BatchedEventLogStorage" in written


def test_iceberg_catalog_is_reached_by_connects_own_address(
    server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One setting for Kafka Connect and the pipeline; the password is a variable's."""
    monkeypatch.setenv("CATALOG_PASSWORD", PASSWORD)
    address = f"jdbc:postgresql://127.0.0.1:{server.port}/postgres"
    uri = f"{address}?user={USER}&password=${{env:CATALOG_PASSWORD}}"
    engine = create_engine(catalog_address(load_settings(iceberg_catalog_uri=uri)))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT current_user")).scalar() == USER
    engine.dispose()
