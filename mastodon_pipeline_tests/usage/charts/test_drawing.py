"""The charts show their tables' figures, in pictures that the UI and a phone can show."""

import base64
import sys
from datetime import timedelta
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.charts.daily import (
    daily_rows,
    draw_apps,
    draw_hours_of_day,
    draw_language_density,
    draw_languages,
)
from mastodon_pipeline.usage.charts.drawing import as_markdown, label
from mastodon_pipeline.usage.charts.hourly import (
    TOP_ROWS,
    TOP_SERVERS,
    draw_servers_by_hour,
    draw_toots_per_server,
    servers_by_hour_rows,
    toots_per_server_rows,
)
from mastodon_pipeline.usage.tables.building import build_daily, build_toots, build_toots_per_server
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, record

pytestmark = pytest.mark.thorough


def chart_rows(lake: Lake, servers: int) -> pd.DataFrame:
    """Server n.example posts n toots in the hour."""
    land(
        lake,
        *(
            record(uri=f"{server}/{n}", status_id=f"{server}-{n}", server=f"{server}.example")
            for server in range(1, servers + 1)
            for n in range(server)
        ),
    )
    build_toots(lake, HOUR)
    build_toots_per_server(lake, HOUR)
    return toots_per_server_rows(lake, DAY)


def test_the_busiest_servers_are_named_and_the_rest_is_one(lake: Lake) -> None:
    """Nothing is left out of the total."""
    rows = chart_rows(lake, servers=9)
    assert list(rows["server"]) == [f"{n}.example" for n in range(9, 3, -1)] + ["other servers"]
    assert len(rows) == TOP_SERVERS + 1
    assert rows["toots"].sum() == sum(range(1, 10))
    assert set(rows["hour_of_day"]) == {HOUR.hour}


def test_the_heat_map_has_a_row_for_the_busiest_servers_alone(lake: Lake) -> None:
    """What is left out is still known."""
    chart_rows(lake, servers=TOP_ROWS + 3)
    rows = servers_by_hour_rows(lake, DAY)
    assert rows["server"].nunique() == TOP_ROWS + 1
    assert rows["toots"].sum() == sum(range(1, TOP_ROWS + 4))


DAILY = {
    "hour_of_day_usage": draw_hours_of_day,
    "app_usage": draw_apps,
    "language_usage": draw_languages,
    "language_density": draw_language_density,
}
STRANGE = ["a $x_{y$ b", "$$", "日本のアプリ🦆", "line\nbreak\t\x1b[31m", "long" * 30, "  ", ""]


def many_kinds(lake: Lake) -> None:
    """Toots of many apps, some with strange names, and many languages, in one hour."""
    apps = [*STRANGE, *(f"app {n}" for n in range(20))]
    codes = ["", "de", "en", "zz9", "not a language", *"abcdefghijklmnopq"]
    land(
        lake,
        *(
            record(
                uri=f"{n}",
                status_id=f"{n}",
                app=apps[n % len(apps)],
                server=apps[n % 9],
                language_primary=codes[n % len(codes)],
                characters=n % 50 * 100,
            )
            for n in range(300)
        ),
    )
    build_toots(lake, HOUR)


def drawn_picture(lake: Lake, chart: str) -> bytes:
    """The picture of a daily table, or the heat map, or the stacked bars."""
    if chart in DAILY:
        build_daily(lake, DAY, chart)
        return DAILY[chart](daily_rows(lake, DAY, chart), DAY)
    if lake.parquet_files(lake.layout.toots(HOUR)):
        build_toots_per_server(lake, HOUR)
    if chart == "servers_by_hour":
        return draw_servers_by_hour(servers_by_hour_rows(lake, DAY), DAY)
    return draw_toots_per_server(toots_per_server_rows(lake, DAY), DAY)


CHARTS = [*DAILY, "servers_by_hour", "toots_per_server"]


@pytest.mark.parametrize("chart", CHARTS)
def test_the_picture_is_opaque_light_and_small(lake: Lake, chart: str) -> None:
    """It is kept in Dagster's log, and shown on dark pages too; strange names do not break it."""
    many_kinds(lake)
    png = drawn_picture(lake, chart)
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        flat = picture.convert("RGBA")
        assert flat.getpixel((0, 0)) == (255, 255, 255, 255)
        assert 600 <= flat.width <= 750, "the dialog of the UI clips at 760"
        assert len(flat.convert("RGB").getcolors(maxcolors=256) or []) > 10, "something is drawn"
    assert len(png) < 40_000


@pytest.mark.parametrize("chart", CHARTS)
def test_a_day_without_toots_says_so(lake: Lake, chart: str) -> None:
    """An empty frame would look like a fault."""
    empty = drawn_picture(lake, chart)
    assert empty.startswith(b"\x89PNG")
    many_kinds(lake)
    assert empty != drawn_picture(lake, chart)


def test_another_days_figures_give_another_picture(lake: Lake) -> None:
    """The bars are the table's: one toot more is seen."""
    land(lake, record(app="Tusky"))
    build_toots(lake, HOUR)
    before = {chart: drawn_picture(lake, chart) for chart in CHARTS}
    assert before == {chart: drawn_picture(lake, chart) for chart in CHARTS}, "and only then"
    more = {"app": "Elk", "language_primary": "de", "created_at": HOUR + timedelta(minutes=1)}
    land(lake, record(uri="b", status_id="2", **more), name="b")
    build_toots(lake, HOUR)
    after = {chart: drawn_picture(lake, chart) for chart in CHARTS}
    assert not [chart for chart in CHARTS if after[chart] == before[chart]]


def test_a_chart_of_a_table_that_is_not_built_says_what_to_do(lake: Lake) -> None:
    """In one line."""
    with pytest.raises(TableError, match=r"--select app_usage\+ --partition 2026-11-24"):
        daily_rows(lake, DAY, "app_usage")


def test_a_strangers_text_is_a_plain_label() -> None:
    """No formula, no line break, nothing that the font lacks, and not too long."""
    assert [label(text) for text in STRANGE] == [
        r"a \$x_{y\$ b",
        r"\$\$",
        "□" * 7,
        "line break □[31m",
        "longlonglonglonglonglon…",
        "",
        "",
    ]


def test_no_figure_is_left_in_pyplot(lake: Lake) -> None:
    """A code server draws for months."""
    draw_toots_per_server(chart_rows(lake, servers=2), DAY)
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_markdown_carries_the_picture_itself() -> None:
    """The UI needs neither the bucket nor its keys."""
    text = as_markdown(b"\x89PNG", "Toots on a day")
    assert text.startswith("![Toots on a day](data:image/png;base64,")
    assert base64.b64decode(text.partition("base64,")[2].removesuffix(")")) == b"\x89PNG"
