"""The assets in Dagster: partitions, metadata, checks, schedule."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.partitions import days, hours
from mastodon_pipeline.usage.refreshing.schedules import daily_usage_schedule
from mastodon_pipeline.usage.refreshing.sensor import RANGE_END, RANGE_START
from mastodon_pipeline.usage.tables import hourly as assets
from mastodon_pipeline.usage.tables.building import (
    DAILY_TABLES,
    build_toots,
    build_toots_per_server,
)
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
CHARTS = [
    *("app", "hour_of_day", "language", "language_density", "servers_by_hour", "toots_per_server")
]


def execute(lake: Lake, instance: dg.DagsterInstance, job: str, **how: Any) -> Any:
    """Runs a job of the stage on this lake."""
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
        raise_on_error=False,
        **how,
    )


def checks_of(outcome: Any) -> dict[str, bool]:
    """Each check and whether it passed; only if all of its name did."""
    found: dict[str, bool] = {}
    for one in outcome.get_asset_check_evaluations():
        found[one.check_name] = found.get(one.check_name, True) and one.passed
    return found


def test_one_run_builds_a_range_and_tells_of_each_hour(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """A backfill is one run; each partition has its own rows, path and sample."""
    after = HOUR + timedelta(hours=1)
    land(lake, record(), record(uri="b", created_at=after), record(uri="c", created_at=after))
    outcome = execute(
        lake,
        instance,
        "refresh_hourly_usage",
        tags={RANGE_START: KEY, RANGE_END: "2026-11-24-17:00"},
    )
    assert outcome.success
    told = {one.partition: one.metadata for one in outcome.asset_materializations_for_node("toots")}
    assert {key: data["dagster/row_count"].value for key, data in told.items()} == {
        KEY: 1,
        "2026-11-24-16:00": 2,
        "2026-11-24-17:00": 0,
    }
    assert told[KEY]["path"].value == lake.layout.toots(HOUR)
    assert "hello" not in told[KEY]["first rows"].value, "the log outlives a delete"
    assert checks_of(outcome) == {"no_duplicate_toots": True, "hour_equals_recount": True}


def test_the_day_has_its_row_its_checks_and_its_charts(
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
        "chart_shows_its_table": True,
    }
    for name in CHARTS:
        (chart,) = outcome.asset_materializations_for_node(f"{name}_chart")
        shown = chart.metadata["chart"].value
        assert shown.startswith("![Toots on 2026-11-24](data:image/png;base64,")
        assert chart.metadata["toots drawn"].value == 1
        assert Path(lake.layout.chart(name, DAY)).read_bytes().startswith(b"\x89PNG")
    assert rows(lake, lake.layout.daily("daily_usage", DAY))[0]["toots"] == 1


def test_a_planted_error_fails_the_check_in_the_ui(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """A toot put into two hours, and one lost from its table, are both shown as failed."""
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
    assert checks_of(outcome) == {"no_duplicate_toots": False, "hour_equals_recount": True}

    path = lake.layout.toots(HOUR)
    lake.connection.execute(
        "CREATE TEMP TABLE fewer AS"
        f" FROM read_parquet('{path}', hive_partitioning := false) WHERE uri <> 'b'"
    )
    lake.connection.execute(
        "COPY fewer TO $path (FORMAT parquet, KV_METADATA {built_from: $built_from})",
        {"path": path, "built_from": lake.built_from([path])[path]},
    )
    result = dg.materialize(
        [assets.toots_per_server_per_hour],
        partition_key=KEY,
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
    )
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed) == ("hour_equals_recount", False)
    assert "toots 1, recounted 2" in (found.description or "")


def test_counts_without_toots_fail_at_once_and_say_what_to_do(
    lake: Lake, instance: dg.DagsterInstance
) -> None:
    """No retry mends it."""
    outcome = dg.materialize(
        [assets.toots_per_server_per_hour],
        partition_key=KEY,
        instance=instance,
        resources={"lake": LocalLakeResource(root=lake.layout.root)},
        raise_on_error=False,
    )
    assert not outcome.success
    (failure,) = outcome.get_step_failure_events()
    assert "materialise them too" in str(failure.step_failure_data.error)
    retried = [one for one in outcome.all_events if one.event_type_value == "STEP_UP_FOR_RETRY"]
    assert retried == []


def test_the_running_hour_and_day_are_partitions() -> None:
    """The tables are current; both begin with FIRST_DAY, in UTC."""
    now = datetime(2026, 11, 24, 15, 30, tzinfo=UTC)
    with dg.partition_loading_context(effective_dt=now):
        assert hours.get_last_partition_key() == KEY
        assert days.get_last_partition_key() == "2026-11-24"
    assert hours.get_first_partition_key() == "2026-01-01-00:00"
    assert days.get_first_partition_key() == "2026-01-01"


def test_the_schedule_builds_yesterday_at_twenty_past_midnight() -> None:
    """UTC, and on by default."""
    context = dg.build_schedule_context(
        scheduled_execution_time=datetime(2026, 11, 25, 0, 20, tzinfo=UTC)
    )
    request = daily_usage_schedule(context)
    assert isinstance(request, dg.RunRequest)
    assert request.partition_key == "2026-11-24"
    assert daily_usage_schedule.cron_schedule == "20 0 * * *"
    assert daily_usage_schedule.execution_timezone == "UTC"
    assert daily_usage_schedule.default_status == dg.DefaultScheduleStatus.RUNNING


def test_a_backfill_of_days_is_one_run(lake: Lake, instance: dg.DagsterInstance) -> None:
    """Each day of each table has its file, its rows and its sample, without toots as well."""
    before = HOUR - timedelta(days=1)
    land(lake, record())
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)
    outcome = execute(
        lake,
        instance,
        "refresh_daily_usage",
        tags={RANGE_START: "2026-11-23", RANGE_END: "2026-11-24"},
    )
    assert outcome.success
    assert set(checks_of(outcome).values()) == {True}
    for table in DAILY_TABLES:
        told = outcome.asset_materializations_for_node(table)
        assert [one.partition for one in told] == ["2026-11-23", "2026-11-24"]
        for one, day in zip(told, (before.date(), DAY), strict=True):
            path = lake.layout.daily(table, day)
            assert one.metadata["path"].value == path
            assert one.metadata["dagster/row_count"].value == len(rows(lake, path))
            assert one.metadata["first rows"].value.startswith("| day |")
