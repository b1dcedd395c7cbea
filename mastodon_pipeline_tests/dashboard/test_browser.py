"""The dashboard in a browser, over real services: the numbers, the address, a phone, the dark."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from infra.native_stack import Ports, Stack
from infra.native_stack.probes import http_ok
from mastodon_pipeline.kafka import ensure_topics
from mastodon_pipeline.lake.bucket import ensure_bucket
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.listening.records.record import TootRecord, milliseconds
from mastodon_pipeline.listening.topic.topics import listening_topics
from mastodon_pipeline.settings import Settings, load_settings
from mastodon_pipeline.usage.views import connect_views
from mastodon_pipeline_tests.dashboard.conftest import toot
from mastodon_pipeline_tests.support.building import build_day, build_hours
from mastodon_pipeline_tests.support.local_lake import land
from mastodon_pipeline_tests.support.producing import produce
from mastodon_pipeline_tests.support.waiting import wait_until

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
HOURS = 30
PHONE = {"width": 390, "height": 844}
_WAIT_MS = 900_000
"""A busy machine's; the page itself is measured by `benchmarks/dashboard.py`."""


@dataclass(frozen=True)
class Dashboard:
    """A running dashboard over a bucket and a topic of its own."""

    url: str
    settings: Settings
    process: "subprocess.Popen[bytes]"

    def counted(self, condition: str) -> int:
        """Count toots in the tables by SQL."""
        with closing(connect_views(self.settings, live=False)) as connection:
            row = connection.execute(
                "SELECT coalesce(sum(toots), 0) FROM toots_per_server_per_hour WHERE " + condition
            ).fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture(scope="module")
def dashboard(stack: Stack) -> Iterator[Dashboard]:
    """The page over thirty hours of toots on three servers, one of which has a hostile name."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt install chromium")
    patch = pytest.MonkeyPatch()
    name = f"dashboard-{uuid4().hex[:8]}"
    for variable, value in {**stack.environment, "KAFKA_TOPIC": name, "S3_BUCKET": name}.items():
        patch.setenv(variable, value)
    settings = load_settings()
    ensure_bucket(settings)
    ensure_topics(settings, listening_topics(settings))
    _build_tables(settings)
    try:
        with served() as (url, process):
            yield Dashboard(url, settings, process)
    finally:
        patch.undo()


@contextmanager
def served() -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Run the command with this process' environment until the end of the block."""
    port = Ports.free().dashboard_port
    command = [str(Path(sys.executable).with_name("mastodon-pipeline")), "dashboard"]
    with subprocess.Popen([*command, "--port", str(port)], env=os.environ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(http_ok(f"{url}/_stcore/health"), "the dashboard answers")
            yield url, process
        finally:
            process.terminate()
            process.wait(900)


def _build_tables(settings: Settings) -> None:
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    records = [
        toot(
            number,
            now - timedelta(minutes=7 * number),
            server=("one.example", "two.example", "**three**.example")[number % 3],
            username=f"user{number % 7}",
            bot=number % 7 == 6,
            language_primary=("en", "de", "")[number % 3],
            app=("Tusky", "<b>bold</b>")[number % 2],
            tag_names=["cats", "写真", "**bold**"][: number % 4],
        )
        for number in range(HOURS * 60 // 7)
    ]
    with open_lake(settings) as lake:
        land(lake, *records)
        lake.landed.refresh(whole=True)
        hours = sorted({record["created_at"].replace(minute=0) for record in records})
        build_hours(lake, *hours)
        for day in sorted({hour.date() for hour in hours}):
            build_day(lake, day)


@pytest.fixture(scope="module")
def browser(dashboard: Dashboard) -> "Iterator[Browser]":
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=_WAIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


def click_in_toolbar(page: "Page", button: str) -> bool:
    """Click a button of the first figure's toolbar; return whether it could be reached.

    What is drawn meanwhile moves the figure, and with it the toolbar, below the page's header.
    """
    from playwright.sync_api import TimeoutError as PlaywrightTimeout

    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.evaluate("figure => figure.scrollIntoView({block: 'center'})")
    chart.hover()
    try:
        page.get_by_role("button", name=button).first.click(timeout=20_000)
    except PlaywrightTimeout:
        return False
    return True


def open_page(browser: "Browser", url: str, **options: Any) -> "tuple[Page, list[str]]":
    """Open a page as a new visitor; return it with what its console complains about."""
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(_WAIT_MS)
    complaints: list[str] = []

    def note(message: "ConsoleMessage") -> None:
        if message.type == "error":
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if re.match(r"https?://127\.0\.0\.1|data:|blob:", request.url)
            else complaints.append(f"asks {request.url}")
        ),
    )
    page.goto(url)
    page.get_by_text("As of ").wait_for()
    return page, complaints


def metric(page: "Page", label: str) -> int:
    """Return a key figure."""
    text = page.get_by_test_id("stMetric").filter(has_text=label).get_by_test_id("stMetricValue")
    return int(text.inner_text().replace(",", ""))


def moment_of(page: "Page") -> str:
    """Return the time of a page's numbers, for SQL: it is later now, perhaps another hour."""
    as_of = page.get_by_text("As of ").inner_text()
    return f"TIMESTAMPTZ '{as_of.removeprefix('As of ').removesuffix(' UTC.')}+00'"


def test_numbers_equal_sql_on_the_tables_and_the_console_is_quiet(
    dashboard: Dashboard, browser: "Browser"
) -> None:
    """And nothing outside this machine is asked for anything."""
    page, complaints = open_page(browser, dashboard.url)
    today = f"hour >= date_trunc('day', {moment_of(page)})"
    assert metric(page, "Toots: today") == dashboard.counted(today)
    since = f"hour >= date_trunc('hour', {moment_of(page)}) - INTERVAL 23 HOURS"
    assert metric(page, "Toots: chosen period") == dashboard.counted(since)
    page.get_by_text("Length of toots by language").wait_for()
    assert page.get_by_test_id("stVegaLiteChart").locator("svg, canvas").count() >= 7
    assert complaints == []
    page.context.close()


def test_figure_downloads_as_csv_and_png(dashboard: Dashboard, browser: "Browser") -> None:
    page, _ = open_page(browser, f"{dashboard.url}/?period=7d")
    with page.expect_download() as csv:
        page.get_by_role("button", name="CSV").first.click()
    assert csv.value.path().read_text().startswith("moment,server,toots\n")
    with page.expect_download() as png:
        wait_until(lambda: click_in_toolbar(page, "Download as PNG"), "the toolbar can be clicked")
    assert png.value.path().read_bytes().startswith(b"\x89PNG")


def test_filters_change_numbers_and_address_and_it_opens_the_same_view(
    dashboard: Dashboard, browser: "Browser"
) -> None:
    page, _ = open_page(browser, dashboard.url)
    whole = metric(page, "Toots: chosen period")
    page.get_by_test_id("stMultiSelect").first.click()
    page.get_by_role("option", name="two.example").click()
    page.wait_for_url(re.compile(r"server=two\.example"))
    since = f"hour >= date_trunc('hour', {moment_of(page)}) - INTERVAL 23 HOURS"
    of_two = dashboard.counted(f"{since} AND server = 'two.example'")
    wait_until(lambda: metric(page, "Toots: chosen period") == of_two, "the filter counts")
    assert 0 < of_two < whole
    page.keyboard.press("Escape")
    page.get_by_text("7 days", exact=True).first.click()
    page.wait_for_url(re.compile(r"period=7d"))
    week = dashboard.counted("server = 'two.example'")
    wait_until(lambda: metric(page, "Toots: chosen period") == week, "the period counts")
    page.get_by_text("bots", exact=True).click()
    page.wait_for_url(re.compile(r"bots=only"))
    wait_until(lambda: 0 < metric(page, "Toots: chosen period") < week, "bots alone count")
    bots = metric(page, "Toots: chosen period")
    again, _ = open_page(browser, page.url)
    assert metric(again, "Toots: chosen period") == bots
    again.context.close()
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_fits_a_phone_in_light_and_dark(
    dashboard: Dashboard, browser: "Browser", scheme: str
) -> None:
    page, complaints = open_page(browser, dashboard.url, viewport=PHONE, color_scheme=scheme)
    page.get_by_test_id("stVegaLiteChart").first.wait_for()
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    widest = page.evaluate(
        "Math.max(...[...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')]"
        ".map(chart => chart.getBoundingClientRect().right))"
    )
    assert widest <= PHONE["width"]
    background = page.evaluate(
        "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    )
    brightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (brightness < 80) == (scheme == "dark")
    assert complaints == []
    page.context.close()


def test_words_of_strangers_are_text(dashboard: Dashboard, browser: "Browser") -> None:
    page, _ = open_page(browser, f"{dashboard.url}/?server=**three**.example&server=<i>x</i>")
    assert page.get_by_test_id("stMultiSelect").first.get_by_text("**three**.example").count() == 1
    assert page.locator("i", has_text="x").count() == 0
    page.context.close()


def test_new_toot_is_counted_within_twenty_seconds(
    dashboard: Dashboard, browser: "Browser"
) -> None:
    """The open page shows it by itself, before anything has landed."""
    page, _ = open_page(browser, f"{dashboard.url}/?server=new.example")
    assert metric(page, "Toots: today") == 0
    now = datetime.now(UTC)
    record = TootRecord(
        uri="https://new.example/1",
        status_id="1",
        base_url="https://new.example",
        server="new.example",
        username="ada",
        acct="ada",
        created_at=milliseconds(now),
        ingested_at=milliseconds(now),
    )
    produce(dashboard.settings, [record])
    wait_until(lambda: metric(page, "Toots: today") == 1, "the toot is counted")
    page.context.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_dashboard_ends_with_zero_while_somebody_waits_for_its_figures(
    dashboard: Dashboard, browser: "Browser", number: signal.Signals
) -> None:
    """As the process manager and Ctrl-C end it."""
    del dashboard  # its tables and its environment
    with served() as (url, process):
        page = browser.new_page()
        page.goto(f"{url}/?period=30d&bots=only", wait_until="commit")
        page.get_by_test_id("stMetric").first.wait_for(timeout=_WAIT_MS)
        process.send_signal(number)
        assert process.wait(_WAIT_MS / 1000) == 0
        page.close()
