"""A chart that does not show its table is a fault: other figures, a stale picture, no picture."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import dagster as dg
import pytest
from PIL import Image

from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.assets import ASSETS
from mastodon_pipeline.usage.charts.chart import (
    PATIENCE,
    chart_rows,
    chart_shows_its_table,
    draw_chart,
)
from mastodon_pipeline.usage.charts.drawing import encode_png, png_texts
from mastodon_pipeline.usage.checks.check import Finding
from mastodon_pipeline.usage.tables.daily import APP_USAGE
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, LocalLakeResource, land, record
from mastodon_pipeline_tests.support.prepared_lake import PreparedLake

pytestmark = pytest.mark.thorough

(CHART,) = APP_USAGE.charts
TABLE = APP_USAGE.name


@pytest.fixture(scope="module")
def with_chart(tmp_path_factory: pytest.TempPathFactory) -> PreparedLake:
    return PreparedLake(tmp_path_factory.mktemp("drawn"), build_and_draw)


@pytest.fixture
def drawn(with_chart: PreparedLake) -> Iterator[Lake]:
    """A day's app_usage and its chart."""
    with with_chart.copy() as lake:
        yield lake


def build_and_draw(lake: Lake) -> None:
    """Build the day's table, and draw its chart."""
    land(lake, record(app="Tusky"), record(uri="b", app="Elk"))
    build_toots(lake, HOUR)
    APP_USAGE.build(lake, DAY)
    draw_chart(lake, CHART, TABLE, DAY)


def build_with_another_toot(lake: Lake) -> None:
    """Add a toot to the chart's table."""
    land(lake, record(uri="c", app="Elk"), name="later")
    build_toots(lake, HOUR)
    APP_USAGE.build(lake, DAY)


def test_chart_that_shows_its_table_passes(drawn: Lake) -> None:
    """A day without a chart is no fault."""
    days = [DAY, DAY - timedelta(1)]
    finding = chart_shows_its_table(drawn, CHART, TABLE, days, datetime.now(UTC))
    assert finding == Finding(compared=1, faults=())


def test_chart_with_other_figures_than_its_table_is_a_fault(drawn: Lake) -> None:
    """It claims the table as it is, and was drawn from other rows. Shows G13."""
    path = Path(drawn.layout.chart("app", DAY))
    drawn_from = png_texts(path.read_bytes())["drawn_from"]
    rows = chart_rows(drawn, CHART, TABLE, DAY)
    rows["toots"] += 1
    texts = {"drawn_from": drawn_from, "drawn": "0" * 32}
    path.write_bytes(encode_png(CHART.draw(rows, DAY), texts))
    finding = chart_shows_its_table(drawn, CHART, TABLE, [DAY], datetime.now(UTC))
    assert "shows other figures than its table has" in finding.summary


def test_stale_chart_is_a_fault(drawn: Lake) -> None:
    """Once there was enough time to draw it again."""
    build_with_another_toot(drawn)
    now = datetime.now(UTC)
    soon = chart_shows_its_table(drawn, CHART, TABLE, [DAY], now)
    assert soon == Finding(0, (), skipped=1)
    later = chart_shows_its_table(drawn, CHART, TABLE, [DAY], now + PATIENCE)
    assert "does not show the table as it is since" in later.summary
    draw_chart(drawn, CHART, TABLE, DAY)
    assert chart_shows_its_table(drawn, CHART, TABLE, [DAY], now + PATIENCE).passed


@pytest.mark.parametrize("content", [b"", b"no picture"])
def test_file_that_is_no_picture_is_a_fault(drawn: Lake, content: bytes) -> None:
    """Whoever put it there."""
    Path(drawn.layout.chart("app", DAY)).write_bytes(content)
    later = datetime.now(UTC) + 2 * PATIENCE
    assert not chart_shows_its_table(drawn, CHART, TABLE, [DAY], later).passed


def test_picture_carries_what_it_was_drawn_from(drawn: Lake) -> None:
    """As text beside the pixels, which it does not change."""
    picture = CHART.draw(chart_rows(drawn, CHART, TABLE, DAY), DAY)
    png = encode_png(picture, {"drawn": "x"})
    assert png_texts(png)["drawn"] == "x"
    with Image.open(BytesIO(png)) as opened:
        assert opened.convert("RGB").tobytes() == picture.convert("RGB").tobytes()
    texts = png_texts(Path(drawn.layout.chart("app", DAY)).read_bytes())
    assert texts.keys() >= {"drawn_from", "drawn"}


def test_drawing_a_day_checks_the_charts_of_the_days_before_too(
    drawn: Lake, instance: dg.DagsterInstance
) -> None:
    before = DAY - timedelta(1)
    APP_USAGE.build(drawn, before)
    chart = draw_chart(drawn, CHART, TABLE, before)
    texts = {**png_texts(chart.png), "drawn": "0" * 32}
    with Image.open(BytesIO(chart.png)) as picture:
        Path(chart.path).write_bytes(encode_png(picture, texts))
    result = dg.materialize(
        [ASSETS["app_chart"]],
        partition_key=f"{DAY}",
        instance=instance,
        resources={"lake": LocalLakeResource(root=drawn.layout.root)},
    )
    (check,) = result.get_asset_check_evaluations()
    assert (check.check_name, check.passed) == ("chart_shows_its_table", False)
    assert f"{before}: " in (check.description or "")
