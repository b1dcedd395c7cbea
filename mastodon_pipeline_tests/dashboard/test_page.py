"""Every state of the page, as Streamlit runs it."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from mastodon_pipeline.dashboard import showing
from mastodon_pipeline.dashboard.counts import SHOWN_SERVERS, Counts
from mastodon_pipeline.dashboard.key_figures import change
from mastodon_pipeline.dashboard.showing import as_csv
from mastodon_pipeline.errors import BucketMissing, ObjectStoreUnavailable
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline_tests.dashboard.conftest import NOW, toot, toots
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import HOUR, land

pytestmark = pytest.mark.thorough

PAGE = REPOSITORY / "mastodon_pipeline" / "dashboard" / "page.py"
Open = Callable[[Lake], AppTest]


class _Clock(datetime):
    @classmethod
    def now(cls, tz: Any = None) -> "_Clock":
        return NOW + timedelta(seconds=1)  # type: ignore[return-value]


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Opens the page over a lake, a second after the newest toot."""

    def open_page(lake: Lake) -> AppTest:
        monkeypatch.setattr(showing, "open_counts", lambda _: Counts(lake))
        monkeypatch.setattr(showing, "datetime", _Clock)
        showing.shared_counts.clear()
        st.cache_data.clear()  # figures of another lake
        return AppTest.from_file(str(PAGE), default_timeout=300)

    yield open_page
    showing.shared_counts.clear()


def shown(app: AppTest) -> str:
    """Return all texts of the page."""
    assert not app.exception, app.exception
    elements = [*app.title, *app.subheader, *app.markdown, *app.caption, *app.text]
    return "\n".join(str(e.value) for e in [*elements, *app.info, *app.error, *app.warning])


def metrics(app: AppTest) -> dict[str, tuple[str, str]]:
    """Return each key figure with its change."""
    return {metric.label: (metric.value, metric.delta) for metric in app.metric}


def test_page_shows_key_figures_and_their_change(page: Open, lake_of_three_days: Lake) -> None:
    app = page(lake_of_three_days).run()
    shown(app)
    today = sum(toot["created_at"].day == NOW.day for toot in toots())
    assert metrics(app)["Toots: today"][0] == f"{today}"
    assert metrics(app)["Toots: last hour"] == ("6", "+0.0 %")


def test_address_chooses_and_choices_change_the_address(
    page: Open, lake_of_three_days: Lake
) -> None:
    app = page(lake_of_three_days)
    app.query_params["period"] = "7d"
    app.query_params["server"] = ["two.example"]
    app.run()
    shown(app)
    seven_days = metrics(app)
    assert app.multiselect(key="server").value == ["two.example"]
    app.multiselect(key="server").set_value(["one.example", "two.example"]).run()
    shown(app)
    assert app.query_params["server"] == ["one.example", "two.example"]
    assert app.query_params["period"] == "7d"
    both = metrics(app)
    assert int(both["Toots: chosen period"][0]) > int(seven_days["Toots: chosen period"][0]) > 0


def test_empty_lake_says_what_to_do_next(page: Open, lake: Lake) -> None:
    text = shown(page(lake).run())
    assert "Nothing is counted yet" in text
    assert "make up SERVERS=" in text


def test_empty_period_leads_to_the_days_that_are_counted(
    page: Open, lake_of_three_days: Lake
) -> None:
    """Toots of 2023 that were replayed are in no period up to now. The link opens them."""
    app = page(lake_of_three_days)
    app.query_params.update({"from": "2023-02-01", "to": "2023-02-03", "server": "one.example"})
    [link] = re.findall(r"There are toots from (\S+) to (\S+) .*\]\(\?(.*)\)", shown(app.run()))
    assert link[:2] == (f"{min(t['created_at'] for t in toots()):%Y-%m-%d}", f"{NOW:%Y-%m-%d}")
    visitor = AppTest.from_file(str(PAGE), default_timeout=300)
    visitor.query_params.update(parse_qs(link[2]))
    assert "There are toots" not in shown(visitor.run())
    counted = sum(toot["server"] == "one.example" for toot in toots())
    assert metrics(visitor)["Toots: chosen period"][0] == f"{counted}"


def test_stopped_stack_says_how_to_start_it(
    page: Open, lake_of_three_days: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Counts) -> bool:
        raise ObjectStoreUnavailable("the object store at http://127.0.0.1:9 does not answer")

    monkeypatch.setattr(Counts, "is_empty", refuse)
    text = shown(page(lake_of_three_days).run())
    assert "does not answer" in text
    assert "make up" in text


def test_missing_bucket_is_an_empty_lake(
    page: Open, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: Counts) -> bool:
        raise BucketMissing("no bucket")

    monkeypatch.setattr(Counts, "is_empty", refuse)
    assert "Nothing is counted yet" in shown(page(lake).run())


def test_csv_holds_every_row_and_no_formula() -> None:
    rows = [{"app": "=cmd()", "toots": 3, "order": 1}, {"app": 'a,"b', "toots": 2, "order": 2}]
    assert as_csv(rows) == 'app,toots\r\n\'=cmd(),3\r\n"a,""b",2\r\n'


def test_change_of_nothing_has_no_percentage() -> None:
    assert change(3, 0) is None
    assert change(3, 4) == "-25.0 %"


@pytest.mark.parametrize("servers", [1, 300])
def test_page_shows_one_server_and_three_hundred(page: Open, lake: Lake, servers: int) -> None:
    """The busiest have colours of their own, the others are one; all can be chosen."""
    records = [
        toot(number, NOW - timedelta(seconds=number), server=f"s{number % servers}.example")
        for number in range(600)
    ]
    land(lake, *records)
    lake.landed.refresh(whole=True)
    build_hours(lake, HOUR)
    build_day(lake, NOW.date())
    app = page(lake).run()
    shown(app)
    assert metrics(app)["Toots: today"][0] == "600"
    assert len(app.multiselect(key="server").options) == servers
    [chart, *_] = app.get("vega_lite_chart")
    rows = json.loads(chart.proto.spec)["layer"][0]["data"]["values"]
    assert len({row["server"] for row in rows}) == min(servers, SHOWN_SERVERS + 1)
    assert sum(row["toots"] for row in rows) == 600
