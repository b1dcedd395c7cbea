"""What a table's declaration promises is true of its file, its sources, its checks and its view."""

import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.schemas import record_fields
from mastodon_pipeline.usage.charts.chart import Chart, chart_shows_its_table, draw_chart
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.coverage import SERVER_COVERAGE, build_server_coverage
from mastodon_pipeline.usage.tables.hourly import TOOTS
from mastodon_pipeline.usage.tables.server_activity import ReportedWeek, ServerReport
from mastodon_pipeline.usage.tables.table import Grain, Table
from mastodon_pipeline.usage.views import create_views, table_folders
from mastodon_pipeline_tests.support.building import build_day, build_hours, plant
from mastodon_pipeline_tests.support.local_lake import (
    DAY,
    HOUR,
    Record,
    file_columns,
    in_order,
    land,
    local_lake,
    record,
    rows,
)
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake

pytestmark = pytest.mark.thorough

BY_NAME = {table.name: table for table in TABLES}
each_table = pytest.mark.parametrize("table", TABLES, ids=BY_NAME)
each_chart = pytest.mark.parametrize(
    ("table", "chart"),
    [(table, chart) for table in TABLES for chart in table.charts],
    ids=[chart.name for table in TABLES for chart in table.charts],
)


@pytest.fixture(scope="module")
def built() -> Iterator[Lake]:
    """A lake with an hour and a day of every table."""
    with tempfile.TemporaryDirectory() as directory, local_lake(Path(directory)) as lake:
        build_everything(lake)
        yield lake


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("built"), build_everything)


@pytest.fixture
def changeable(prepared: PreparedLake) -> Iterator[Lake]:
    """The same, for one test alone."""
    with prepared.copy() as lake:
        yield lake


def build_everything(lake: Lake) -> None:
    """Build an hour and a day of every table."""
    land(lake, *landed_records())
    build_hours(lake, HOUR)
    build_day(lake, DAY)
    week = ReportedWeek(DAY, 90)
    report = ServerReport("https://one.example", "one.example", (week,))
    build_server_coverage(lake, DAY, DAY, lambda: [report])


def landed_records() -> list[Record]:
    """Five toots of two people and a bot; of the last, one server reported no text."""
    toots = [
        record(
            username=username,
            bot=username == "robot",
            characters=characters,
            tag_names=["cats"],
        )
        for username, characters in zip(
            ("zed", "ada", "zed", "robot", "robot"), (10, 1, 2, 5, 20), strict=True
        )
    ]
    no_text = {"base_url": "https://two.example", "mastodon_text": "", "characters": 0}
    numbered = [
        {**toot, "uri": f"u{n}", "status_id": f"{n}", "mastodon_text": "mastodon"}
        for n, toot in enumerate(toots)
    ]
    return in_order({**numbered[-1], **no_text}, *numbered)


def path_of(lake: Lake, table: Table[Any]) -> str:
    """The file of the hour or day that was built."""
    return table.path(lake.layout, HOUR if table.grain is Grain.HOUR else DAY)


def columns_of(lake: Lake, table: Table[Any]) -> dict[str, str]:
    """The columns of the table's file, in order, with their types."""
    return file_columns(lake, path_of(lake, table))


@each_table
def test_file_has_the_declared_columns_in_order_with_their_types(
    built: Lake, table: Table[Any]
) -> None:
    declared = [(column.name, column.type) for column in table.columns]
    assert list(columns_of(built, table).items()) == declared


@each_table
def test_everything_declared_is_described(table: Table[Any]) -> None:
    """A table's description says what is counted: public toots."""
    assert "public" in table.description.lower()
    assert [column.name for column in table.columns if len(column.description) < 10] == []
    descriptions = [check.description for check in table.checks]
    descriptions += [chart.description for chart in table.charts]
    assert [text for text in descriptions if len(text) < 30] == []


@each_table
def test_sources_have_the_columns_that_columns_are_made_from(
    built: Lake, table: Table[Any]
) -> None:
    source = table.sources[0]
    available = (
        {field.name for field in record_fields()}
        if table is TOOTS
        else set(columns_of(built, BY_NAME[source]))
    )
    for column in table.columns:
        assert set(column.made_from) <= available, column.name


COUNTED_BY = {"uri", "created_at"}
"""What makes a toot one, and of its hour and day: its row and its file depend on it."""
LINEAGE = [
    (table, name)
    for table in TABLES
    if table is not SERVER_COVERAGE  # by dates: see test_coverage.py
    for name in sorted({name for column in table.columns for name in column.made_from})
    if name not in COUNTED_BY
]


CHANGED_ROWS = "status_id IN ('1', '2', '4')"
OTHER_VALUES = {
    "VARCHAR": "concat('a', {})",
    "VARCHAR[]": "list_append({}, 'dogs')",
    "INTEGER": "coalesce({}, 0) + 100",
    "BOOLEAN": "NOT coalesce({}, false)",
    "TIMESTAMPTZ": "coalesce({}, ingested_at) + INTERVAL 1 MINUTE",
}
DELETES = (
    f"INSERT INTO planted SELECT * REPLACE ('delete' AS event) FROM planted WHERE {CHANGED_ROWS}"
)


@pytest.mark.parametrize(
    ("table", "changed"), LINEAGE, ids=[f"{table.name}-{name}" for table, name in LINEAGE]
)
def test_column_changes_with_each_column_that_it_is_made_from(
    changeable: Lake, table: Table[Any], changed: str
) -> None:
    """A declared lineage is no guess: another value in the source gives another value."""
    before = values_of(changeable, table)
    landed = f"{changeable.layout.landed_hour(HOUR)}a.parquet"
    source = landed if table is TOOTS else path_of(changeable, TOOTS)
    other = OTHER_VALUES[file_columns(changeable, source)[changed]].format(changed)
    change = f"UPDATE planted SET {changed} = {other} WHERE {CHANGED_ROWS}"
    plant(changeable, source, f"{change}; {DELETES}" if changed == "event" else change)
    table.build(changeable, HOUR if table.grain is Grain.HOUR else DAY)
    after = values_of(changeable, table)
    for column in table.columns:
        if changed in column.made_from:
            assert before[column.name] != after[column.name], column.name


def values_of(lake: Lake, table: Table[Any]) -> dict[str, list[str]]:
    """The values of each column, in any order."""
    built_rows = rows(lake, path_of(lake, table))
    return {
        column.name: sorted(str(row[column.name]) for row in built_rows) for column in table.columns
    }


@each_table
def test_every_check_passes_on_its_table_and_finds_a_planted_fault(
    changeable: Lake, table: Table[Any]
) -> None:
    assert table.checks
    partition = HOUR if table.grain is Grain.HOUR else DAY
    for check in table.checks:
        finding = check.find_faults(changeable, table.name, [partition])
        assert (finding.faults, finding.compared, finding.skipped) == ((), 1, 0), check.name
    if table is TOOTS:
        plant(changeable, path_of(changeable, table), "INSERT INTO planted FROM planted")
    else:
        plant(changeable, path_of(changeable, table), "UPDATE planted SET toots = toots + 1000")
    for check in table.checks:
        finding = check.find_faults(changeable, table.name, [partition])
        assert not finding.passed, check.name


@each_chart
def test_every_chart_is_drawn_from_its_table_and_a_changed_table_is_noticed(
    changeable: Lake, table: Table[Any], chart: Chart
) -> None:
    assert draw_chart(changeable, chart, table.name, DAY).toots == 5
    now = datetime.now(UTC)
    assert chart_shows_its_table(changeable, chart, table.name, [DAY], now).compared == 1
    plant(changeable, path_of(changeable, table), "UPDATE planted SET toots = toots + 1")
    later = chart_shows_its_table(changeable, chart, table.name, [DAY], now + timedelta(hours=1))
    assert not later.passed


def test_every_table_is_a_view_with_its_columns_and_those_of_its_folders(built: Lake) -> None:
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET TimeZone = 'UTC'")
        create_views(
            connection,
            table_folders(built.layout),
            lambda folder: next((file.path for file in built.list_files(folder)), None),
        )
        for table in TABLES:
            view = connection.table(table.name)
            assert {column.name for column in table.columns} <= set(view.columns)
            assert view.filter(f"day = '{DAY}'").count("*").fetchone() != (0,)
