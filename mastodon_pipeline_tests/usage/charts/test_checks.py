"""A chart that does not show its table is found: planted figures, a stale one, no picture."""

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
import pytest

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.charts import assets as chart_assets
from mastodon_pipeline.usage.charts.checks import (
    PATIENCE,
    Chart,
    chart_shows_its_table,
    draw_chart,
)
from mastodon_pipeline.usage.charts.daily import daily_rows, draw_apps
from mastodon_pipeline.usage.charts.drawing import texts_in, with_texts
from mastodon_pipeline.usage.tables.building import build_daily, build_toots
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, LocalLakeResource, land, record

CHART = Chart(
    "app",
    lambda lake, day: lake.parquet_files(lake.layout.daily("app_usage", day)),
    partial(daily_rows, table="app_usage"),
    draw_apps,
)


@pytest.fixture
def drawn(lake: Lake) -> Lake:
    """A day's app_usage and its chart."""
    land(lake, record(app="Tusky"), record(uri="b", app="Elk"))
    build_toots(lake, HOUR)
    build_daily(lake, DAY, "app_usage")
    draw_chart(lake, CHART, DAY)
    return lake


def another_table(lake: Lake) -> None:
    """One toot more in the chart's table."""
    land(lake, record(uri="c", app="Elk"), name="later")
    build_toots(lake, HOUR)
    build_daily(lake, DAY, "app_usage")


def test_a_chart_of_its_table_passes(drawn: Lake) -> None:
    """And a day without one is no fault."""
    found = chart_shows_its_table(drawn, CHART, [DAY, DAY - timedelta(1)], datetime.now(UTC))
    assert (found.faults, found.compared, found.unsettled) == ((), 1, 0)


def test_a_chart_with_other_figures_than_its_table_is_found(drawn: Lake) -> None:
    """It claims the table as it is, and was drawn from other rows."""
    path = Path(drawn.layout.chart("app", DAY))
    claimed = texts_in(path.read_bytes())["drawn_from"]
    rows = CHART.rows(drawn, DAY)
    rows["toots"] += 1
    forged = with_texts(draw_apps(rows, DAY), {"drawn_from": claimed, "drawn": "0" * 32})
    path.write_bytes(forged)
    found = chart_shows_its_table(drawn, CHART, [DAY], datetime.now(UTC))
    assert "shows other figures than its table has" in found.summary


def test_a_stale_chart_is_found(drawn: Lake) -> None:
    """Once it had time enough to be drawn anew."""
    another_table(drawn)
    now = datetime.now(UTC)
    soon = chart_shows_its_table(drawn, CHART, [DAY], now)
    assert (soon.passed, soon.compared, soon.unsettled) == (True, 0, 1)
    later = chart_shows_its_table(drawn, CHART, [DAY], now + PATIENCE)
    assert "is not of the table as it is since" in later.summary
    draw_chart(drawn, CHART, DAY)
    assert chart_shows_its_table(drawn, CHART, [DAY], now + PATIENCE).passed


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_what_is_no_picture_of_ours_is_found(drawn: Lake, content: bytes) -> None:
    """Whoever put it there."""
    Path(drawn.layout.chart("app", DAY)).write_bytes(content)
    assert not chart_shows_its_table(drawn, CHART, [DAY], datetime.now(UTC) + 2 * PATIENCE).passed


def test_the_text_in_a_picture_changes_no_pixel(drawn: Lake) -> None:
    """And says what it was drawn from."""
    rows = CHART.rows(drawn, DAY)
    plain = draw_apps(rows, DAY)
    assert texts_in(plain).keys().isdisjoint({"drawn_from", "drawn"})
    assert texts_in(with_texts(plain, {"drawn": "x"}))["drawn"] == "x"
    assert texts_in(Path(drawn.layout.chart("app", DAY)).read_bytes()).keys() >= {
        "drawn_from",
        "drawn",
    }


def test_a_planted_chart_of_the_day_before_fails_in_the_ui(
    drawn: Lake, instance: dg.DagsterInstance
) -> None:
    """Drawing today's looks at the charts of the days before too."""
    before = DAY - timedelta(1)
    build_daily(drawn, before, "app_usage")
    path, png, _ = draw_chart(drawn, CHART, before)
    Path(path).write_bytes(with_texts(png, {**texts_in(png), "drawn": "0" * 32}))
    result = dg.materialize(
        [chart_assets.app_chart],
        partition_key=f"{DAY}",
        instance=instance,
        resources={"lake": LocalLakeResource(root=drawn.layout.root)},
    )
    (found,) = result.get_asset_check_evaluations()
    assert (found.check_name, found.passed) == ("chart_shows_its_table", False)
    assert f"{before}: " in (found.description or "")
