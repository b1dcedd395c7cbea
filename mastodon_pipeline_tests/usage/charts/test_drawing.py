"""The charts show their tables' figures, in pictures that the UI and a phone can show."""

import base64
import sys
from collections.abc import Iterator
from datetime import timedelta
from io import BytesIO

import pandas as pd
import pytest
from PIL import Image

from mastodon_pipeline.errors import TableError
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.usage.charts.chart import chart_rows, draw_chart
from mastodon_pipeline.usage.charts.drawing import as_markdown, label
from mastodon_pipeline.usage.charts.hourly import BUSIEST_ROWS, BUSIEST_SERVERS
from mastodon_pipeline.usage.tables.catalog import TABLES
from mastodon_pipeline.usage.tables.hourly import build_toots
from mastodon_pipeline.usage.tables.table import Grain
from mastodon_pipeline_tests.support.building import build_hours
from mastodon_pipeline_tests.support.local_lake import DAY, HOUR, land, local_lake, record

pytestmark = pytest.mark.thorough

CHARTS = {chart.name: (table, chart) for table in TABLES for chart in table.charts}


def read_rows(lake: Lake, name: str) -> pd.DataFrame:
    """What a chart shows of the day."""
    table, chart = CHARTS[name]
    return chart_rows(lake, chart, table.name, DAY)


def build_servers(lake: Lake, servers: int) -> None:
    """Build an hour in which server n.example posts n toots."""
    land(
        lake,
        *(
            record(uri=f"{server}/{n}", status_id=f"{server}-{n}", server=f"{server}.example")
            for server in range(1, servers + 1)
            for n in range(server)
        ),
    )
    build_hours(lake, HOUR)


def test_busiest_servers_are_named_and_the_rest_is_one(lake: Lake) -> None:
    """Nothing is left out of the total."""
    build_servers(lake, 9)
    rows = read_rows(lake, "toots_per_server")
    assert list(rows["server"]) == [f"{n}.example" for n in range(9, 3, -1)] + ["other servers"]
    assert len(rows) == BUSIEST_SERVERS + 1
    assert rows["toots"].sum() == sum(range(1, 10))
    assert set(rows["hour_of_day"]) == {HOUR.hour}


def test_heat_map_has_a_row_for_each_of_the_busiest_servers(lake: Lake) -> None:
    """The toots of the others are still summed."""
    build_servers(lake, BUSIEST_ROWS + 3)
    rows = read_rows(lake, "servers_by_hour")
    assert rows["server"].nunique() == BUSIEST_ROWS + 1
    assert rows["toots"].sum() == sum(range(1, BUSIEST_ROWS + 4))


STRANGE = ["a $x_{y$ b", "$$", "日本のアプリ🦆", "line\nbreak\t\x1b[31m", "long" * 30, "  ", ""]


def build_many_kinds(lake: Lake) -> None:
    """Build an hour with toots of many apps, some with strange names, and many languages."""
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


def draw(lake: Lake, name: str) -> bytes:
    """Build a chart's table if there are toots, and draw the chart; the PNG."""
    table, chart = CHARTS[name]
    if table.grain is Grain.DAY:
        table.build(lake, DAY)
    elif lake.parquet_files(lake.layout.toots(HOUR)):
        table.build(lake, HOUR)
    return draw_chart(lake, chart, table.name, DAY).png


@pytest.fixture(scope="module")
def many_kinds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """An hour with toots of many kinds; each chart is drawn from a table of its own."""
    with local_lake(tmp_path_factory.mktemp("kinds")) as lake:
        build_many_kinds(lake)
        yield lake


@pytest.mark.parametrize("chart", CHARTS)
def test_picture_is_opaque_light_and_small(many_kinds: Lake, chart: str) -> None:
    """Dagster's log keeps it, and dark pages show it too; strange names do not break it."""
    png = draw(many_kinds, chart)
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        flat = picture.convert("RGBA")
        assert flat.getpixel((0, 0)) == (255, 255, 255, 255)
        assert 600 <= flat.width <= 750, "the dialog of the UI clips at 760"
        assert len(flat.convert("RGB").getcolors(maxcolors=256) or []) > 10, "something is drawn"
    assert len(png) < 40_000, "the picture is written with a palette"


@pytest.mark.parametrize("chart", CHARTS)
def test_chart_of_a_day_without_toots_is_drawn(lake: Lake, many_kinds: Lake, chart: str) -> None:
    """It says that there are none: an empty frame would look like a fault."""
    empty = draw(lake, chart)
    assert empty.startswith(b"\x89PNG")
    assert empty != draw(many_kinds, chart)


def test_one_more_toot_gives_another_picture(lake: Lake) -> None:
    """The same figures give the same picture."""
    land(lake, record(app="Tusky"))
    build_toots(lake, HOUR)
    before = {chart: draw(lake, chart) for chart in CHARTS}
    assert before == {chart: draw(lake, chart) for chart in CHARTS}
    more = {"app": "Elk", "language_primary": "de", "created_at": HOUR + timedelta(minutes=1)}
    land(lake, record(uri="b", status_id="2", **more), name="b")
    build_toots(lake, HOUR)
    after = {chart: draw(lake, chart) for chart in CHARTS}
    assert not [chart for chart in CHARTS if after[chart] == before[chart]]


def test_chart_of_a_table_that_is_not_built_names_the_command(lake: Lake) -> None:
    with pytest.raises(TableError, match=r"--select app_usage\+ --partition 2026-11-24"):
        read_rows(lake, "app")


def test_text_by_strangers_becomes_a_plain_label() -> None:
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
    build_servers(lake, 2)
    draw(lake, "toots_per_server")
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_markdown_holds_the_picture_itself() -> None:
    """The UI needs neither the bucket nor its keys."""
    text = as_markdown(b"\x89PNG", "Toots on a day")
    assert text.startswith("![Toots on a day](data:image/png;base64,")
    assert base64.b64decode(text.partition("base64,")[2].removesuffix(")")) == b"\x89PNG"
