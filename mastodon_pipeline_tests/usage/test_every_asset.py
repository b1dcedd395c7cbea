"""Every asset tells what it is: on its page before a run, and after it of each part."""

import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.layout import Layout
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.schemas import schema_text
from mastodon_pipeline.usage.definitions import definitions
from mastodon_pipeline.usage.tables.building import DAILY_TABLES
from mastodon_pipeline.usage.tables.coverage import build_server_coverage
from mastodon_pipeline.usage.tables.lineage import LINEAGE
from mastodon_pipeline.usage.tables.server_activity import ReportedWeek, ServerReport
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    LocalLakeResource,
    land,
    local_lake,
    record,
)

pytestmark = pytest.mark.thorough

SPECS = {
    spec.key.to_user_string(): spec
    for spec in definitions.resolve_all_asset_specs()
    if spec.group_name in ("toots", "usage", "charts")
}
TABLES = ["toots", "toots_per_server_per_hour", *DAILY_TABLES, "server_coverage"]
COUNTED_BY = ("uri", "created_at")
"""What makes a toot one, and of its day and hour: by then its row and its file say so."""
CHARTS = sorted(set(SPECS) - set(TABLES))


@pytest.fixture(scope="module")
def built() -> Iterator[tuple[Lake, dict[str, Any]]]:
    """A lake whose every asset was materialised, and what each run told of it."""
    with (
        tempfile.TemporaryDirectory() as directory,
        local_lake(Path(directory)) as lake,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        land(lake, record(app="Tusky"))
        told: dict[str, Any] = {}
        for job, key in (
            ("refresh_hourly_usage", f"{HOUR:%Y-%m-%d-%H:%M}"),
            ("refresh_server_coverage", f"{DAY}"),
            ("refresh_daily_usage", f"{DAY}"),
        ):
            outcome = definitions.resolve_job_def(job).execute_in_process(
                instance=instance,
                partition_key=key,
                resources={"lake": LocalLakeResource(root=directory)},
            )
            for event in outcome.get_asset_materialization_events():
                found = event.step_materialization_data.materialization
                told[found.asset_key.to_user_string()] = found
        weeks = (ReportedWeek(DAY, 1),)
        report = ServerReport("https://one.example", "one.example", weeks)
        build_server_coverage(lake, DAY, DAY, lambda: [report])
        yield lake, told


def path_of(layout: Layout, table: str) -> str:
    """Where the table's part of the day or the hour is."""
    hourly = {"toots": layout.toots, "toots_per_server_per_hour": layout.toots_per_server}
    return hourly[table](HOUR) if table in hourly else layout.daily(table, DAY)


def columns_of(lake: Lake, table: str) -> dict[str, str]:
    """The columns of a table's file, with their types as the UI names them."""
    found = lake.connection.read_parquet(path_of(lake.layout, table), hive_partitioning=False)
    short = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    types = [short.get(str(kind), str(kind)) for kind in found.types]
    return dict(zip(found.columns, types, strict=True))


def test_the_design_is_there() -> None:
    """Nine tables beside `toots` or made of it, and six charts."""
    assert set(TABLES) <= set(SPECS)
    assert len(CHARTS) == 6
    assert all(name.endswith("_chart") for name in CHARTS)


@pytest.mark.parametrize("name", sorted(SPECS))
def test_it_says_whose_it_is_what_it_holds_and_how_fresh_it_should_be(name: str) -> None:
    """On its page, without a run."""
    spec = SPECS[name]
    assert len(spec.description or "") > 30
    assert spec.owners == ["team:mastodon-pipeline"]
    assert "duckdb" in spec.kinds
    assert spec.freshness_policy is not None
    assert "```sql" in spec.metadata["sql"].value
    assert spec.partitions_def is not None
    checks = [
        key.name
        for key in definitions.resolve_asset_graph().asset_check_keys
        if key.asset_key == spec.key
    ]
    assert checks


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_what_is_counted_and_what_each_column_means(
    name: str, built: tuple[Lake, dict[str, Any]]
) -> None:
    """Names and types are those of its file."""
    assert "public" in (SPECS[name].description or "").lower()
    schema = SPECS[name].metadata["dagster/column_schema"]
    assert {column.name: column.type for column in schema.columns} == columns_of(built[0], name)
    assert all(column.description for column in schema.columns)


@pytest.mark.parametrize("name", TABLES)
def test_a_table_says_of_which_columns_it_is_made(
    name: str, built: tuple[Lake, dict[str, Any]]
) -> None:
    """Each of its columns, by columns that its source has and its query names."""
    lake, _ = built
    lineage = SPECS[name].metadata["dagster/column_lineage"]
    assert lineage == LINEAGE[name]
    assert set(lineage.deps_by_column) == set(columns_of(lake, name))
    schema = json.loads(schema_text())
    landed = {field["name"] for field in schema["fields"]}
    upstream = {dep.asset_key.to_user_string() for dep in SPECS[name].deps}
    asked = query(f"usage/tables/{name}") + (
        query("usage/tables/counted_by_day") if name == "server_coverage" else ""
    )
    for deps in lineage.deps_by_column.values():
        for dep in deps:
            source = dep.asset_key.to_user_string()
            assert source in upstream
            has = landed if source == "landed_toots" else columns_of(lake, source)
            assert dep.column_name in has
            assert dep.column_name in COUNTED_BY or re.search(rf"\b{dep.column_name}\b", asked)


@pytest.mark.parametrize("name", TABLES)
def test_a_run_tells_rows_path_and_the_first_rows(
    name: str, built: tuple[Lake, dict[str, Any]]
) -> None:
    """Of the part that it built."""
    lake, told = built
    metadata = told[name].metadata
    assert metadata["path"].value == path_of(lake.layout, name)
    shown = metadata["first rows"].value.splitlines()
    assert len(shown) - 2 == min(10, metadata["dagster/row_count"].value)
    assert set(shown[0].strip("| ").split(" | ")) <= set(columns_of(lake, name))


@pytest.mark.parametrize("name", CHARTS)
def test_a_run_shows_the_chart(name: str, built: tuple[Lake, dict[str, Any]]) -> None:
    """The picture itself, and where it lies."""
    lake, told = built
    metadata = told[name].metadata
    assert metadata["chart"].value.startswith(f"![Toots on {DAY}](data:image/png;base64,")
    assert metadata["path"].value == lake.layout.chart(name.removesuffix("_chart"), DAY)
    assert metadata["toots drawn"].value == 1
