"""The assets in Dagster: their pages, partitions, runs, checks and schedule."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.assets import ASSETS
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partition_keys import RANGE_END, RANGE_START
from mastodon_pipeline.usage.partitions import days, hours
from mastodon_pipeline.usage.refreshing.schedules import daily_usage_schedule
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.daily import DAILY_TABLES
from mastodon_pipeline_tests.support.building import build_hours, plant
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    delete,
    in_order,
    land,
    record,
    rows,
)

pytestmark = pytest.mark.thorough

KEY = "2026-11-24-15:00"
CHARTS = [chart.name for table in TABLES for chart in table.charts]


def execute(lake: Lake, instance: dg.DagsterInstance, job: str, **options: Any) -> Any:
    """Run a job of the stage on this lake."""
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
        raise_on_error=False,
        **options,
    )


def checks_of(outcome: Any) -> dict[str, bool]:
    """The checks by name, and whether all of that name passed."""
    passed: dict[str, bool] = {}
    for check in outcome.get_asset_check_evaluations():
        passed[check.check_name] = passed.get(check.check_name, True) and check.passed
    return passed


@pytest.mark.parametrize("name", sorted(ASSETS))
def test_page_of_an_asset_shows_owner_description_sql_freshness_and_checks(name: str) -> None:
    """Without a run."""
    (spec,) = ASSETS[name].specs
    assert len(spec.description or "") > 30
    assert spec.owners == ["team:mastodon-pipeline"]
    assert "duckdb" in spec.kinds
    assert spec.freshness_policy is not None
    assert "```sql" in spec.metadata["sql"].value
    assert spec.partitions_def is not None
    assert list(ASSETS[name].check_specs)


def test_columns_of_a_table_are_shown_with_descriptions_and_lineage() -> None:
    metadata = ASSETS["daily_usage"].specs_by_key[dg.AssetKey("daily_usage")].metadata
    schema, lineage = metadata["dagster/column_schema"], metadata["dagster/column_lineage"]
    assert schema.columns[0] == dg.TableColumn("day", "DATE", "The UTC day")
    sources = {(dep.asset_key, dep.column_name) for dep in lineage.deps_by_column["users"]}
    assert sources == {(dg.AssetKey("toots"), name) for name in ("username", "server")}


def test_run_over_a_range_logs_metadata_for_each_hour(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """A backfill is one run; each partition has its rows, path and first rows."""
    after = HOUR + timedelta(hours=1)
    land(lake, record(), record(uri="b", created_at=after), record(uri="c", created_at=after))
    outcome = execute(
        lake,
        instance,
        "refresh_hourly_usage",
        tags={RANGE_START: KEY, RANGE_END: "2026-11-24-17:00"},
    )
    assert outcome.success
    events = outcome.asset_materializations_for_node("toots")
    metadata = {event.partition: event.metadata for event in events}
    assert {key: values["dagster/row_count"].value for key, values in metadata.items()} == {
        KEY: 1,
        "2026-11-24-16:00": 2,
        "2026-11-24-17:00": 0,
    }
    assert metadata[KEY]["path"].value == lake.layout.toots(HOUR)
    (first_row,) = metadata[KEY]["first rows"].records
    assert first_row.data["server"] == "one.example"
    assert "hello" not in first_row.data.values(), "the log outlives a delete"
    assert checks_of(outcome) == {
        "no_duplicate_toots": True,
        "hour_equals_recount": True,
        "hashtags_equal_recount": True,
    }


def test_run_of_a_day_builds_tables_and_charts_and_runs_their_checks(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """Each picture is in its asset's metadata, and a file in the lake."""
    land(lake, *in_order(record(app="Tusky"), delete()))
    execute(lake, instance, "refresh_hourly_usage", partition_key=KEY)
    outcome = execute(lake, instance, "refresh_daily_usage", partition_key="2026-11-24")
    assert outcome.success
    assert checks_of(outcome) == {
        "day_equals_its_hours": True,
        "toots_sum_to_the_day": True,
        "mentions_are_possible": True,
        "active_users_equal_recount": True,
        "chart_shows_its_table": True,
    }
    for name in CHARTS:
        (chart,) = outcome.asset_materializations_for_node(f"{name}_chart")
        shown = chart.metadata["chart"].value
        assert shown.startswith("![Toots on 2026-11-24](data:image/png;base64,")
        # A deleted toot counts, but its hashtags are not kept.
        assert chart.metadata["toots drawn"].value == (0 if name == "hashtags" else 1)
        assert Path(lake.layout.chart(name, DAY)).read_bytes().startswith(b"\x89PNG")
    assert rows(lake, lake.layout.daily("daily_usage", DAY))[0]["toots"] == 1


def test_planted_faults_fail_the_checks_in_the_ui(lake: Lake, instance: dg.DagsterInstance) -> None:
    """A toot in two hours, and one missing in its table."""
    after = HOUR + timedelta(hours=1)
    land(lake, record(), record(uri="b", status_id="2"))
    land(lake, record(created_at=after))
    outcome = execute(
        lake,
        instance,
        "refresh_hourly_usage",
        tags={RANGE_START: KEY, RANGE_END: "2026-11-24-16:00"},
    )
    assert outcome.success, "a check warns; it does not stop the tables"
    assert checks_of(outcome) == {
        "no_duplicate_toots": False,
        "hour_equals_recount": True,
        "hashtags_equal_recount": True,
    }

    plant(lake, lake.layout.toots(HOUR), "DELETE FROM planted WHERE uri = 'b'")
    result = dg.materialize(
        [ASSETS["toots_per_server_per_hour"]],
        partition_key=KEY,
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("hour_equals_recount", False)
    assert "toots 1, recounted 2" in (check.description or "")


def test_counts_without_toots_fail_without_retries(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """The error names the command that fixes it."""
    outcome = dg.materialize(
        [ASSETS["toots_per_server_per_hour"]],
        partition_key=KEY,
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
        raise_on_error=False,
    )
    assert not outcome.success
    (failure,) = outcome.get_step_failure_events()
    assert "materialize them too" in str(failure.step_failure_data.error)
    events = {event.event_type_value for event in outcome.all_events}
    assert "STEP_UP_FOR_RETRY" not in events


def test_current_hour_and_day_are_partitions() -> None:
    """The first ones are those of FIRST_DAY, in UTC, where no home of Dagster remembers a day."""
    now = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    with dg.partition_loading_context(effective_dt=now):
        assert hours.get_last_partition_key() == KEY
        assert days.get_last_partition_key() == "2026-11-24"
    assert hours.get_first_partition_key() == "2016-03-16-00:00"
    assert days.get_first_partition_key() == "2016-03-16"


def test_schedule_builds_yesterday_at_twenty_past_midnight() -> None:
    """In UTC; on by default."""
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 25, 0, 20, tzinfo=UTC)
    )
    request = daily_usage_schedule(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-11-24"
    assert daily_usage_schedule.cron_schedule == "20 0 * * *"
    assert daily_usage_schedule.execution_timezone == "UTC"
    assert daily_usage_schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_backfill_of_days_is_one_run(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Each day of each table has its file, rows and first rows, also without toots."""
    before = HOUR - timedelta(days=1)
    land(lake, record())
    build_hours(lake, HOUR)
    outcome = execute(
        lake,
        instance,
        "refresh_daily_usage",
        tags={RANGE_START: "2026-11-23", RANGE_END: "2026-11-24"},
    )
    assert outcome.success
    assert set(checks_of(outcome).values()) == {True}
    for table in DAILY_TABLES:
        events = outcome.asset_materializations_for_node(table.name)
        assert [event.partition for event in events] == ["2026-11-23", "2026-11-24"]
        for event, day in zip(events, (before.date(), DAY), strict=True):
            path = table.path(lake.layout, day)
            assert event.metadata["path"].value == path
            count = event.metadata["dagster/row_count"].value
            assert count == len(rows(lake, path))
            assert len(event.metadata["first rows"].records) == min(10, count)
