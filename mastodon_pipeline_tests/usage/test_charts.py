"""The chart shows the table's figures, in a picture that the UI and a phone can show."""

import base64
import sys
from io import BytesIO

import pandas as pd
from PIL import Image

from mastodon_pipeline.usage.charts import (
    TOP_SERVERS,
    as_markdown,
    draw_toots_per_server,
    toots_per_server_rows,
)
from mastodon_pipeline.usage.lake import Lake
from mastodon_pipeline.usage.tables import build_toots, build_toots_per_server
from mastodon_pipeline_tests.usage.local_lake import DAY, HOUR, land, record


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


def test_the_picture_is_opaque_light_and_small(lake: Lake) -> None:
    """It is kept in Dagster's log, and shown on dark pages too."""
    png = draw_toots_per_server(chart_rows(lake, servers=9), DAY)
    with Image.open(BytesIO(png)) as picture:
        assert picture.format == "PNG"
        flat = picture.convert("RGBA")
        assert flat.getpixel((0, 0)) == (255, 255, 255, 255)
        assert 600 <= flat.width <= 750, "the dialog of the UI clips at 760"
        assert len(flat.convert("RGB").getcolors(maxcolors=256) or []) > 10, "something is drawn"
    assert len(png) < 40_000


def test_a_day_without_toots_says_so(lake: Lake) -> None:
    """An empty frame would look like a fault."""
    empty = draw_toots_per_server(toots_per_server_rows(lake, DAY), DAY)
    assert empty.startswith(b"\x89PNG")
    assert empty != draw_toots_per_server(chart_rows(lake, servers=1), DAY)


def test_no_figure_is_left_in_pyplot(lake: Lake) -> None:
    """A code server draws for months."""
    draw_toots_per_server(chart_rows(lake, servers=2), DAY)
    assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_markdown_carries_the_picture_itself() -> None:
    """The UI needs neither the bucket nor its keys."""
    text = as_markdown(b"\x89PNG", "Toots on a day")
    assert text.startswith("![Toots on a day](data:image/png;base64,")
    assert base64.b64decode(text.partition("base64,")[2].removesuffix(")")) == b"\x89PNG"
