"""A running lake that moves from SQLite to PostgreSQL, whose server then goes away for a minute."""

import os
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.cli.database_checks import check_catalog, check_history
from mastodon_pipeline.cli.machine_checks import Unhealthy
from mastodon_pipeline.dagster_database import POSTGRES_VARIABLE, postgres_url
from mastodon_pipeline_tests.chaos.balance import counted
from mastodon_pipeline_tests.chaos.chaos import settled_balance, settled_ledger, shown_secrets
from mastodon_pipeline_tests.chaos.pipeline import Pipeline, running_pipeline
from mastodon_pipeline_tests.support.iceberg_records import assert_iceberg_has_each_record_once
from mastodon_pipeline_tests.support.postgres import PASSWORD, postgres_server
from mastodon_pipeline_tests.support.secret_search import stored_contents
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]
TOOTS_PER_SECOND = 5.0
AWAY_SECONDS = 60.0
COMMAND = str(Path(sys.executable).with_name("mastodon-pipeline"))
TOOTS = dg.AssetKey("toots")


@pytest.mark.timeout(3600)
def test_lake_moves_to_postgresql_and_is_without_it_for_a_minute() -> None:
    """Counts, history, cursors and the Iceberg table go on; nothing is lost, nothing twice.

    Shows G4, G10, G12.
    """
    with postgres_server() as server, running_pipeline(TOOTS_PER_SECOND) as pipeline:
        wait_until(lambda: counted(pipeline) > 100, "toots are counted", 900)
        pipeline.stack.down()
        runs = {run.run_id for run in pipeline.instance.get_runs()}
        hours = pipeline.instance.get_materialized_partitions(TOOTS)

        os.environ[POSTGRES_VARIABLE] = server.new_database()
        os.environ["LAKE_CATALOG_URI"] = server.new_database()
        moved = subprocess.run([COMMAND, "to-postgres"], capture_output=True, text=True)
        assert moved.returncode == 0, moved.stderr
        assert "1 table(s)" in moved.stdout
        assert f"{len(runs)} runs" in moved.stdout
        pipeline.up()
        os.environ[POSTGRES_VARIABLE] = postgres_url() or ""
        with dg.DagsterInstance.get() as instance:
            pipeline.instance = instance
            assert runs <= {run.run_id for run in instance.get_runs()}
            assert hours <= instance.get_materialized_partitions(TOOTS)
            wait_until(pipeline.listens, "a run listens", 900)
            before = counted(pipeline)
            wait_until(lambda: counted(pipeline) > before, "toots are counted again", 900)

            server.stop()
            stopped = time.monotonic()
            for check in (check_history, check_catalog):
                with pytest.raises(Unhealthy, match="refused"):
                    check(pipeline.settings)
            wait_until(lambda: time.monotonic() - stopped > AWAY_SECONDS, "a minute", 120)
            server.start()
            wait_until(pipeline.listens, "a run listens", 900)
            print(f"a run listens {time.monotonic() - stopped - AWAY_SECONDS:.0f} s afterwards")
            before = counted(pipeline)
            wait_until(lambda: counted(pipeline) > before, "toots are counted again", 900)
            print(f"counted again {time.monotonic() - stopped - AWAY_SECONDS:.0f} s afterwards")

            balance = settled_balance(pipeline)
            assert balance.even, (balance.lost[:3], balance.duplicated, balance.wrong_hours)
            assert not settled_ledger(pipeline).missing
            assert_iceberg_has_each_record_once(pipeline.direct_settings)
            assert not shown_secrets(pipeline)
            assert not password_shown_in(pipeline)
        print(f"{balance.published} published, {balance.in_toots} in toots")


def password_shown_in(pipeline: Pipeline) -> list[str]:
    """Where the database's password is, beside the scripts that set the programs' environment."""
    return [
        place
        for place, content in stored_contents(pipeline.stack.data)
        if PASSWORD.encode() in content
    ]
