"""`make pictures`: make the README's pictures again, from a demo that runs.

The dashboard and the lineage are taken with Chromium, the charts from the demo's bucket, of its
last whole day.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from infra.native_stack import Stack, StackError
from infra.native_stack.__main__ import run_command
from infra.native_stack.fetch import INFRA
from infra.native_stack.simulated import is_simulated
from mastodon_pipeline.lake.lake import open_lake
from mastodon_pipeline.lake.queries import query
from mastodon_pipeline.settings import load_settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FloatRect, Page

IMAGES = INFRA.parent / "docs" / "images"
CHARTS = ("language_density",)
"""Those of the bucket that the README shows."""
TIMEOUT_MS = 120_000
DASHBOARD_SIZE = {"width": 1280, "height": 1300}
LINEAGE = "/assets/toots_per_server_chart?view=lineage&lineageScope=upstream&lineageDepth=5"
_MARGINS = {"left": 40, "top": 30, "right": 230, "bottom": 150}


@contextmanager
def chromium() -> "Iterator[Browser]":
    """Start Chromium. Raises StackError if it is not on PATH."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
    if program is None:
        raise StackError("pictures need Chromium on PATH: apt install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        yield browser
        browser.close()


def take_dashboard(browser: "Browser", url: str, scheme: Literal["light", "dark"]) -> Path:
    """Take the top of the dashboard."""
    context = browser.new_context(viewport=DASHBOARD_SIZE, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.get_by_text("As of ").wait_for()
    page.get_by_test_id("stVegaLiteChart").locator("svg, canvas").nth(2).wait_for()
    page.get_by_text("all green").wait_for()
    page.wait_for_timeout(1000)  # until the charts have their width
    path = IMAGES / f"dashboard-{scheme}.png"
    page.screenshot(path=path)
    context.close()
    return path


def take_lineage(browser: "Browser", url: str) -> Path:
    """Take the assets from the servers to a chart."""
    page = browser.new_page(viewport={"width": 2400, "height": 700})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(f"{url}{LINEAGE}")
    names = ("ingestion", "mastodon_servers", "toots_per_server_chart", "charts")
    for name in names:
        page.get_by_text(name, exact=True).last.wait_for()
    page.wait_for_timeout(3000)  # until it has moved into its place
    path = IMAGES / "lineage.png"
    page.screenshot(path=path, clip=_around(page, names))
    page.close()
    return path


def _around(page: "Page", names: tuple[str, ...]) -> "FloatRect":
    boxes = [page.get_by_text(name, exact=True).last.bounding_box() for name in names]
    seen = [box for box in boxes if box is not None]
    left = min(box["x"] for box in seen) - _MARGINS["left"]
    top = min(box["y"] for box in seen) - _MARGINS["top"]
    right = max(box["x"] + box["width"] for box in seen) + _MARGINS["right"]
    bottom = max(box["y"] + box["height"] for box in seen) + _MARGINS["bottom"]
    left = max(0.0, left)
    return {"x": left, "y": top, "width": min(2400.0, right) - left, "height": bottom - top}


def copy_charts() -> Iterator[Path]:
    """Copy the charts of yesterday from the bucket; yield the pictures."""
    day = (datetime.now(UTC) - timedelta(days=1)).date()
    with open_lake(load_settings()) as lake:
        for chart in CHARTS:
            drawn = lake.layout.chart(chart, day)
            if not list(lake.list_files(drawn)):
                raise StackError(f"{drawn} is not drawn yet: try again in a minute")
            values = {"path": drawn}
            [row] = lake.connection.execute(query("usage/charts/picture"), values).fetchall()
            path = IMAGES / f"{chart}.png"
            path.write_bytes(row[0])
            yield path


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
def pictures() -> None:
    """Make the README's pictures again, from the demo that runs (`make demo`)."""
    stack = Stack(say=click.echo)
    if not (is_simulated(stack.data) and stack.supervisor.running()):
        raise StackError("pictures are made of a demo that runs: make demo")
    os.environ.update(stack.environment)
    IMAGES.mkdir(exist_ok=True)
    with chromium() as browser:
        click.echo(take_dashboard(browser, stack.addresses.dashboard_url, "light"))
        click.echo(take_dashboard(browser, stack.addresses.dashboard_url, "dark"))
        click.echo(take_lineage(browser, stack.addresses.dagster_url))
    for path in copy_charts():
        click.echo(path)


def main() -> None:
    """Make the pictures; a PipelineError becomes one line on stderr and the error's exit code."""
    run_command(pictures)


if __name__ == "__main__":
    main()
