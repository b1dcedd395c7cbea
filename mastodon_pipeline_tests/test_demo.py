"""`make demo` end to end: the comparison, then the command line, then the browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import astuple, dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.native_stack import Ports
from infra.native_stack.processes import marked_processes
from mastodon_pipeline.paths import REPOSITORY
from mastodon_pipeline.settings import Settings
from mastodon_pipeline_tests.support.metrics import (
    PROMETHEUS,
    grafana_queries,
    prometheus,
    scrape,
)
from mastodon_pipeline_tests.support.secret_search import shown_in, stack_secrets, stored_contents
from mastodon_pipeline_tests.support.waiting import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.own_stack]

BIN = Path(sys.executable).parent
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)
YOUNG_SECONDS = 2.0
PLANTED = {
    "KAFKA_SASL_PASSWORD": "planted-kafka-5f1c",
    "ALERT_URLS": "json://me:planted-alert-77ab@127.0.0.1:9/planted-hook-41d0",
    "HTTPS_PROXY": "http://me:planted-proxy-c03e@127.0.0.1:9",
    "NO_PROXY": "127.0.0.1,localhost",
}
"""Secrets in the environment of the demo, whose own services do not need them."""
CATALOG = {"LAKE_CATALOG_URI": "postgresql://me:planted-catalog-9d2f@127.0.0.1:9/lake"}
"""A catalog that cannot be reached, for a run that fails."""


@dataclass(frozen=True)
class Demo:
    """A demo with separate ports and data directory."""

    data: Path
    ports: Ports
    simulator_port: int

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a shell that uses this demo."""
        ports = {
            field.name.upper(): str(port)
            for field, port in zip(fields(self.ports), astuple(self.ports), strict=True)
        }
        return {
            # Without the settings of the other tests' stack.
            **{k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields},
            **ports,
            **PLANTED,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "MASTODON_PIPELINE_DATA": str(self.data),
            "DAGSTER_HOME": str(self.data / "dagster"),
            "SIMULATOR_CONTROL_PORT": str(self.simulator_port),
            "SIMULATOR_PORT": str(self.simulator_port + 1),
        }

    @property
    def url(self) -> str:
        """The address of Dagster's UI."""
        return f"http://127.0.0.1:{self.ports.dagster_port}"

    def run(
        self, *command: str, variables: Mapping[str, str] = {}, seconds: float = 1500
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command as the README shows it."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            # Dagster's commands prefer a contributor's own .env to the environment.
            cwd=self.data if command[0] == "dagster" else REPOSITORY,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def query(self, query: str) -> Any:
        """Send a query to Dagster's GraphQL API and return its data."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, timeout=300).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def stop(self) -> None:
        """Stop everything and delete its data."""
        self.run("python", "-m", "infra.native_stack", "down")
        shutil.rmtree(self.data, ignore_errors=True)


def new_demo() -> Demo:
    """Return a demo, not started, with free ports and an empty directory."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-demo-")).resolve()
    first, ports = _free_port_range(5), Ports.free()
    return Demo(data, replace(ports, metrics_port=first + 4), first)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    """A demo; stopped and deleted at the end."""
    demo = new_demo()
    try:
        yield demo
    finally:
        demo.stop()
        assert marked_processes(demo.data) == []


@pytest.fixture(scope="module")
def command_lines() -> Iterator[set[str]]:
    """The command line of every process of this machine, as any user may see it meanwhile.

    Each is read twenty times a second while the process is young, since it may become another
    program, and once a second later: reading all of them takes a tenth of a core.
    """
    lines: set[str] = set()
    ended = threading.Event()

    def look() -> None:
        since: dict[Path, float] = {}
        for number in count():
            if ended.wait(0.05):
                return
            now = time.monotonic()
            since = {path: since.get(path, now) for path in Path("/proc").glob("[0-9]*")}
            for path, first_seen in since.items():
                if now - first_seen < YOUNG_SECONDS or number % 20 == 0:
                    with suppress(OSError):
                        line = (path / "cmdline").read_text(errors="replace")
                        lines.add(line.replace("\0", " "))

    thread = threading.Thread(target=look)
    thread.start()
    yield lines
    ended.set()
    thread.join()


@pytest.fixture(scope="module")
def outcome(demo: Demo, command_lines: set[str]) -> "subprocess.CompletedProcess[str]":
    """Run `make demo` without make; return what it printed."""
    return demo.run(
        *("python", "-m", "infra.demo", "--toots", "2000", "--hours", "30", "--live", "0")
    )


@pytest.fixture
def running(demo: Demo, outcome: "subprocess.CompletedProcess[str]") -> Demo:
    """The demo after its successful run: stack, Dagster and simulator are up."""
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    return demo


def test_demo_counts_equal_the_published_toots(outcome: "subprocess.CompletedProcess[str]") -> None:
    """It exits with 0 and prints both, which are equal on every line and in total.

    Shows G1 and G13.
    """
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    rows = re.findall(r"^(\S+) +(\S+\.example) +([\d,]+) +([\d,]+)$", outcome.stdout, re.M)
    assert len(rows) >= 6, outcome.stdout  # three servers, two days or three
    assert all(published == counted for _, _, published, counted in rows)
    assert re.search(r"^all +2,000 +2,000$", outcome.stdout, re.M)
    assert "every server-hour agrees" in outcome.stdout


def test_demo_runs_one_listener_with_sensors_and_schedule_on(running: Demo) -> None:
    assert len(running_listeners(running)) == 1
    repositories = running.query(
        "{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name "
        "sensorState {status}} schedules {name scheduleState {status}}}}}}"
    )["repositoriesOrError"]["nodes"]
    on = {
        instigator["name"]
        for repository in repositories
        for instigator in repository["sensors"] + repository["schedules"]
        if (instigator.get("sensorState") or instigator["scheduleState"])["status"] == "RUNNING"
    }
    assert {"listener_supervisor", "connector_supervisor", "landed_toots_sensor"} <= on
    assert "daily_usage_schedule" in on


def test_doctor_reports_the_demo_healthy(running: Demo) -> None:
    """Every part is ok, down to the counted hours."""
    report = running.run("mastodon-pipeline", "doctor")
    assert report.returncode == 0, report.stdout + report.stderr
    servers, *parts = report.stdout.splitlines()
    assert servers.startswith("..  servers"), "only Dagster's processes know the demo's servers"
    assert all(part.startswith("ok  ") for part in parts), report.stdout
    assert "counted up to the hour" in report.stdout


def test_metrics_are_those_of_the_demo(running: Demo) -> None:
    """Each source could be read, nothing is missing, and three servers are listened to."""
    metrics = scrape(f"http://127.0.0.1:{running.ports.metrics_port}/metrics")
    assert set(metrics["source_up"].values()) == {1}
    assert metrics["ledger_missing_records"] == {(): 0}
    assert list(metrics["server_listening"].values()) == [1, 1, 1]
    assert sum(metrics["topic_end_offset_total"].values()) >= 2000
    assert metrics["sink_healthy"] == {("mastodon-sink",): 1}


@pytest.mark.skipif(PROMETHEUS is None, reason="needs Prometheus")
def test_prometheus_answers_each_query_of_grafana(running: Demo, tmp_path: Path) -> None:
    with prometheus(f"127.0.0.1:{running.ports.metrics_port}", tmp_path) as series:
        for panel, query in grafana_queries().items():
            wait_until(partial(series, query), f"{panel}: {query} shows something")


def test_asset_partition_materializes_from_the_command_line(running: Demo) -> None:
    """`dagster asset materialize` with a partition."""
    hour = f"{datetime.now(UTC) - timedelta(hours=9):%Y-%m-%d-%H}"
    result = running.run(
        *("dagster", "asset", "materialize", "--select", "toots_per_server_per_hour"),
        *("--partition", f"{hour}:00", "-m", "mastodon_pipeline.definitions"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "RUN_SUCCESS" in result.stdout + result.stderr


def test_connector_config_job_runs_from_the_command_line(running: Demo) -> None:
    """`dagster job execute -j kafka_connect_config`."""
    result = running.run(
        *("dagster", "job", "execute", "-j", "kafka_connect_config"),
        *("-m", "mastodon_pipeline.definitions"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "RUN_SUCCESS" in result.stdout + result.stderr


def test_planted_secrets_show_nowhere(
    running: Demo, outcome: "subprocess.CompletedProcess[str]", command_lines: set[str]
) -> None:
    """Not in Dagster's database, a log, a page, a topic, a configuration or a command line.

    In the files that only their owner may read alone: `stack.env`, the start scripts, the users of
    Kafka Connect. Shows G20.
    """
    secrets = planted_secrets(running)
    assert len(secrets) == 11
    execute = ("dagster", "job", "execute", "-m", "mastodon_pipeline.definitions", "-j")
    printed = [
        outcome,
        running.run("mastodon-pipeline", "doctor"),
        running.run("mastodon-pipeline", "alerts", "test"),
        running.run("mastodon-pipeline", "maintain", variables=CATALOG),
        running.run("mastodon-pipeline", "listen", "https://unreachable.example"),
        running.run("python", "-m", "infra.native_stack", "status"),
        running.run(*execute, "kafka_connect_config"),
        running.run(*execute, "lake_maintenance", variables=CATALOG),
    ]
    assert printed[-1].returncode != 0, "a failed run says the most"
    connect = f"http://127.0.0.1:{running.ports.connect_port}"
    login = ("pipeline", secrets["KAFKA_CONNECT_PASSWORD"])
    pages = {
        **dict.fromkeys((f"{running.url}/runs", f"{running.url}/deployment/config")),
        f"{connect}/connectors?expand=info&expand=status": login,
        f"{connect}/connectors/mastodon-sink/config": login,
    }
    contents = {"command lines": "\n".join(command_lines).encode()}
    contents |= {f"printed {n}": (r.stdout + r.stderr).encode() for n, r in enumerate(printed)}
    for url, auth in pages.items():
        contents[url] = httpx.get(url, auth=auth, timeout=300).raise_for_status().content
    contents |= stored_contents(running.data)
    parts = {part for place in contents for part in place.split("/")}
    assert {"connect-configs-0", "dagster", "logs", "minio"} <= parts

    shown = {place: names for place in contents if (names := shown_in(contents[place], secrets))}

    assert shown == {}


def planted_secrets(demo: Demo) -> dict[str, str]:
    """Return the secrets of the demo's services and servers, and those of its environment."""
    secrets = stack_secrets(demo.data)
    for process in marked_processes(demo.data):
        if "simulator" in " ".join(process.cmdline()):
            variables = process.environ()
            secrets |= {k: v for k, v in variables.items() if k.startswith("MASTODON_TOKEN_")}
    planted = " ".join([*PLANTED.values(), *CATALOG.values()])
    return secrets | {name: name for name in re.findall(r"planted-\w+-\w+", planted)}


def test_browser_shows_asset_graph_table_rows_and_checks(running: Demo, tmp_path: Path) -> None:
    """Lineage from the servers to the chart; a table's rows and its passed check."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt install chromium")
    from playwright.sync_api import expect, sync_playwright

    truth = f"http://127.0.0.1:{running.simulator_port}/truth/toots_per_server_per_hour"
    published = httpx.get(truth, timeout=300).raise_for_status().json()[4]
    hour, server, toots = published["hour"], published["server"], str(published["toots"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        page = browser.new_page(viewport={"width": 2400, "height": 700})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=300_000)
        page.goto(f"{running.url}/asset-groups")
        for group in ("ingestion", "toots", "usage", "charts"):
            expect(page.get_by_text(group, exact=True).first).to_be_visible()
        # The lineage of a chart, since the global graph shows groups collapsed.
        page.goto(
            f"{running.url}/assets/toots_per_server_chart"
            "?view=lineage&lineageScope=upstream&lineageDepth=5"
        )
        for asset in ("mastodon_servers", "mastodon_topic", "landed_toots", "toots"):
            expect(page.get_by_text(asset, exact=True).first).to_be_visible()
        page.screenshot(path=tmp_path / "lineage.png")
        page.goto(
            f"{running.url}/assets/toots_per_server_per_hour?view=partitions&partition={hour}:00"
        )
        row = page.get_by_role("row").filter(has_text=server).last
        expect(row).to_contain_text(toots)
        page.screenshot(path=tmp_path / "table.png")
        page.goto(f"{running.url}/assets/toots_per_server_per_hour?view=checks")
        expect(page.get_by_text("hour_equals_recount").first).to_be_visible()
        expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
        browser.close()


def test_killed_listener_is_replaced_without_losing_toots(running: Demo) -> None:
    """kill -9: within 60 s another run listens, and toots published meanwhile are counted.

    Shows G4.
    """
    (before,) = running_listeners(running)
    # The worker's command line does not name its run, but those that capture its output do.
    workers = {
        process.ppid()
        for process in marked_processes(running.data)
        if before in " ".join(process.cmdline()) and process.name() == "tail"
    }
    assert len(workers) == 1
    os.kill(workers.pop(), signal.SIGKILL)
    control = f"http://127.0.0.1:{running.simulator_port}"
    uris = httpx.post(f"{control}/publish", timeout=300).raise_for_status().json()["uris"]
    wait_until(
        lambda: running_listeners(running) not in ([before], []),
        "another run listens",
    )
    assert len(uris) == 3
    truth = httpx.get(f"{control}/truth/toots_per_server_per_hour", timeout=300).json()
    assert sum(row["toots"] for row in truth) == 2003
    wait_until(lambda: count_toots(running) == 2003, "all toots are counted")


def test_interrupted_demo_leaves_no_process() -> None:
    """Ctrl-C at the beginning, in the middle of the start, and while counting."""
    for moment in ("starting the stack", "kafka ready", "all ready"):
        demo = new_demo()
        try:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "infra.demo"],
                cwd=REPOSITORY,
                env=demo.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            assert process.stdout is not None
            printed = ""
            while moment not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            os.killpg(process.pid, signal.SIGINT)
            rest, _ = process.communicate(timeout=900)
            assert process.returncode == 130, printed + rest
            assert "Traceback" not in rest
            assert marked_processes(demo.data) == [], printed + rest
        finally:
            demo.stop()


def running_listeners(demo: Demo) -> list[str]:
    """List the ids of the listener runs that have started and not ended."""
    runs = demo.query(
        '{runsOrError(filter: {pipelineName: "mastodon_listener", statuses: [STARTED]}) '
        "{... on Runs {results {runId}}}}"
    )
    return [run["runId"] for run in runs["runsOrError"]["results"]]


def count_toots(demo: Demo) -> int:
    """Sum `toots_per_server_per_hour` as the demo reads it."""
    program = "from infra.counting import counted_toots; print(sum(counted_toots().values()))"
    result = demo.run("python", "-c", program)
    assert result.returncode == 0, result.stderr
    return int(result.stdout)


def _free_port_range(count: int) -> int:
    """Return the first of `count` consecutive unused ports."""
    used = {c.laddr.port for c in psutil.net_connections("tcp") if c.laddr}
    candidates = range(20000 + os.getpid() % 10000, 60000)
    return next(port for port in candidates if not used & set(range(port, port + count)))
