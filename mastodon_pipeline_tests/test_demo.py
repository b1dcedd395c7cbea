"""The whole way of a toot, as a person runs it: `make demo`, then the shell, then the browser."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from infra.native_stack import Ports
from infra.native_stack.processes import marked_processes
from mastodon_pipeline.settings import REPOSITORY, Settings

pytestmark = pytest.mark.integration

BIN = Path(sys.executable).parent
CHROMIUM = next(filter(None, map(shutil.which, ["chromium", "chromium-browser"])), None)


@dataclass(frozen=True)
class Demo:
    """A demo on ports and a data directory of its own."""

    data: Path
    ports: Ports
    simulator_port: int

    @property
    def environment(self) -> dict[str, str]:
        """What a shell needs to talk to it."""
        ports = {
            field.name.upper(): str(port)
            for field, port in zip(fields(self.ports), astuple(self.ports), strict=True)
        }
        return {
            # Nothing of the other tests' stack, which the environment may be set to.
            **{k: v for k, v in os.environ.items() if k.lower() not in Settings.model_fields},
            **ports,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "MASTODON_PIPELINE_DATA": str(self.data),
            "DAGSTER_HOME": str(self.data / "dagster"),
            "SIMULATOR_CONTROL_PORT": str(self.simulator_port),
            "SIMULATOR_PORT": str(self.simulator_port + 1),
        }

    @property
    def url(self) -> str:
        """Dagster's UI."""
        return f"http://127.0.0.1:{self.ports.dagster_port}"

    def run(self, *command: str, seconds: float = 300) -> "subprocess.CompletedProcess[str]":
        """Runs a command as the README has it."""
        return subprocess.run(
            [str(BIN / command[0]), *command[1:]],
            cwd=REPOSITORY,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
        )

    def ask(self, query: str) -> Any:
        """Asks Dagster's GraphQL API."""
        answer = httpx.post(f"{self.url}/graphql", json={"query": query}, timeout=30).json()
        assert "errors" not in answer, answer
        return answer["data"]

    def stop(self) -> None:
        """Leaves nothing running and nothing on disk."""
        self.run("python", "-m", "infra.native_stack", "down", seconds=120)
        shutil.rmtree(self.data, ignore_errors=True)


def a_demo() -> Demo:
    """Free ports, four in a row of them for the simulator, and an empty directory."""
    data = Path(tempfile.mkdtemp(prefix="mastodon-demo-")).resolve()
    return Demo(data, Ports.free(), _free_row(4))


@pytest.fixture(scope="module")
def demo() -> Iterator[tuple[Demo, "subprocess.CompletedProcess[str]"]]:
    """`make demo` without make, and what it printed; stopped and wiped at the end."""
    one = a_demo()
    try:
        options = ("--toots", "2000", "--hours", "30", "--live", "0")
        yield one, one.run("python", "-m", "infra.demo", *options)
    finally:
        one.stop()
        assert marked_processes(one.data) == []


Ran = tuple[Demo, "subprocess.CompletedProcess[str]"]


def test_every_server_hour_agrees_with_the_truth(demo: Ran) -> None:
    """It exits 0 and prints both sides, which are equal in every line and in all."""
    _, outcome = demo
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    rows = re.findall(r"^(\S+) +(\S+\.example) +([\d,]+) +([\d,]+)$", outcome.stdout, re.M)
    assert len(rows) >= 6, outcome.stdout  # three servers, two days or three
    assert all(published == counted for _, _, published, counted in rows)
    assert re.search(r"^all +2,000 +2,000$", outcome.stdout, re.M)
    assert "every server-hour agrees" in outcome.stdout


def test_listener_sensors_and_schedule_are_at_work(demo: Ran) -> None:
    """One listener run is under way; sensors and the schedule are on."""
    one, _ = demo
    assert len(running_listeners(one)) == 1
    repositories = one.ask(
        "{repositoriesOrError {... on RepositoryConnection {nodes {sensors {name "
        "sensorState {status}} schedules {name scheduleState {status}}}}}}"
    )["repositoriesOrError"]["nodes"]
    on = {
        one["name"]
        for repository in repositories
        for one in repository["sensors"] + repository["schedules"]
        if (one.get("sensorState") or one["scheduleState"])["status"] == "RUNNING"
    }
    assert {"listener_supervisor", "connector_supervisor", "landed_toots_sensor"} <= on
    assert "daily_usage_schedule" in on


def test_the_doctor_finds_nothing_ill(demo: Ran) -> None:
    """`mastodon-pipeline doctor` sees every part healthy, down to the counted hours."""
    one, _ = demo
    said = one.run("mastodon-pipeline", "doctor")
    assert said.returncode == 0, said.stdout + said.stderr
    servers, *parts = said.stdout.splitlines()
    assert servers.startswith("..  servers"), "the demo's are the demo's: this shell has none"
    assert all(part.startswith("ok  ") for part in parts), said.stdout
    assert "counted up to the hour" in said.stdout


def test_an_asset_is_materialised_from_the_shell(demo: Ran) -> None:
    """`dagster asset materialize` with a partition, as CI would; the count does not change."""
    one, _ = demo
    hour = f"{datetime.now(UTC) - timedelta(hours=9):%Y-%m-%d-%H}"
    made = one.run(
        *("dagster", "asset", "materialize", "--select", "toots_per_server_per_hour"),
        *("--partition", f"{hour}:00", "-m", "mastodon_pipeline.definitions"),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert "RUN_SUCCESS" in made.stdout + made.stderr


def test_the_connector_s_config_is_applied_from_the_shell(demo: Ran) -> None:
    """`dagster job execute -j kafka_connect_config`; doing it again changes nothing."""
    one, _ = demo
    applied = one.run(
        *("dagster", "job", "execute", "-j", "kafka_connect_config"),
        *("-m", "mastodon_pipeline.definitions"),
    )
    assert applied.returncode == 0, applied.stdout + applied.stderr
    assert "RUN_SUCCESS" in applied.stdout + applied.stderr


def test_no_secret_is_in_dagster_in_logs_or_in_connect(demo: Ran) -> None:
    """MinIO's key and the servers' tokens are in no event, run config, log or connector config."""
    one, _ = demo
    environment = (one.data / "stack.env").read_text()
    secrets = re.findall(r"^AWS_SECRET_ACCESS_KEY='?([^'\n]+)'?$", environment, re.M)
    for process in marked_processes(one.data):
        if "simulator" in " ".join(process.cmdline()):
            variables = process.environ()
            secrets += [v for k, v in variables.items() if k.startswith("MASTODON_TOKEN_")]
    assert len(secrets) == 3  # MinIO's, and the two of those servers that have tokens
    needles = [secret.encode() for secret in secrets]
    connect = f"http://127.0.0.1:{one.ports.connect_port}/connectors/mastodon-sink/config"
    found = {"Kafka Connect": httpx.get(connect, timeout=10).raise_for_status().content}
    for folder in ("dagster", "logs"):
        files = [path for path in (one.data / folder).rglob("*") if path.is_file()]
        assert files
        found |= {str(path): path.read_bytes() for path in files}
    leaks = {where for where, content in found.items() if any(n in content for n in needles)}
    assert leaks == set()


def test_the_browser_finds_graph_and_numbers(demo: Ran, tmp_path: Path) -> None:
    """The asset graph leads on from the servers; the table's page has its rows and its check."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on PATH: apt install chromium")
    from playwright.sync_api import expect, sync_playwright

    one, _ = demo
    truth = f"http://127.0.0.1:{one.simulator_port}/truth/toots_per_server_per_hour"
    some = httpx.get(truth, timeout=10).raise_for_status().json()[4]
    hour, server, toots = some["hour"], some["server"], str(some["toots"])
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"],
        )
        page = browser.new_page(viewport={"width": 2400, "height": 700})
        page.set_default_timeout(30_000)
        expect.set_options(timeout=30_000)
        page.goto(f"{one.url}/asset-groups")
        for group in ("ingestion", "toots", "usage", "charts"):
            expect(page.get_by_text(group, exact=True).first).to_be_visible()
        # The whole way to the chart; the global graph shows its groups folded.
        page.goto(
            f"{one.url}/assets/toots_per_server_chart"
            "?view=lineage&lineageScope=upstream&lineageDepth=5"
        )
        for asset in ("mastodon_servers", "mastodon_topic", "landed_toots", "toots"):
            expect(page.get_by_text(asset, exact=True).first).to_be_visible()
        page.screenshot(path=tmp_path / "lineage.png")
        page.goto(f"{one.url}/assets/toots_per_server_per_hour?view=partitions&partition={hour}:00")
        row = page.get_by_role("row").filter(has_text=server).last
        expect(row).to_contain_text(toots)
        page.screenshot(path=tmp_path / "table.png")
        page.goto(f"{one.url}/assets/toots_per_server_per_hour?view=checks")
        expect(page.get_by_text("hour_equals_recount").first).to_be_visible()
        expect(page.get_by_text("Passed", exact=True).first).to_be_visible()
        browser.close()


def test_a_killed_listener_is_replaced_and_goes_on(demo: Ran) -> None:
    """kill -9 of its process: within 60 s another run listens, and what came meanwhile counts."""
    one, _ = demo
    (before,) = running_listeners(one)
    # The worker's command line does not name its run; those that carry off its output do.
    workers = {
        process.ppid()
        for process in marked_processes(one.data)
        if before in " ".join(process.cmdline()) and process.name() == "tail"
    }
    assert len(workers) == 1
    os.kill(workers.pop(), signal.SIGKILL)
    control = f"http://127.0.0.1:{one.simulator_port}"
    uris = httpx.post(f"{control}/publish", timeout=10).raise_for_status().json()["uris"]
    wait_until(lambda: running_listeners(one) not in ([before], []), 60)
    assert len(uris) == 3
    truth = httpx.get(f"{control}/truth/toots_per_server_per_hour", timeout=10).json()
    assert sum(row["toots"] for row in truth) == 2003
    wait_until(lambda: counted_toots(one) == 2003, 120)


def test_ctrl_c_leaves_no_orphan_at_any_point() -> None:
    """Interrupted early, in the middle of the start, and while counting: nothing of it runs on."""
    for said in ("starting the stack", "kafka ready", "all ready"):
        one = a_demo()
        try:
            process = subprocess.Popen(
                [sys.executable, "-u", "-m", "infra.demo"],
                cwd=REPOSITORY,
                env=one.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            assert process.stdout is not None
            printed = ""
            while said not in printed:
                line = process.stdout.readline()
                assert line, printed
                printed += line
            os.killpg(process.pid, signal.SIGINT)
            rest, _ = process.communicate(timeout=90)
            assert process.returncode == 130, printed + rest
            assert "Traceback" not in rest
            assert marked_processes(one.data) == [], printed + rest
        finally:
            one.stop()


def running_listeners(one: Demo) -> list[str]:
    """The ids of the listener runs that have started and not ended."""
    runs = one.ask(
        '{runsOrError(filter: {pipelineName: "mastodon_listener", statuses: [STARTED]}) '
        "{... on Runs {results {runId}}}}"
    )
    return [run["runId"] for run in runs["runsOrError"]["results"]]


def counted_toots(one: Demo) -> int:
    """All that `toots_per_server_per_hour` has counted."""
    counted = one.run(
        *("python", "-c", "from infra.demo import counted; print(sum(counted().values()))")
    )
    assert counted.returncode == 0, counted.stderr
    return int(counted.stdout)


def wait_until(holds: Callable[[], bool], seconds: float) -> None:
    """Returns when it holds; fails when it does not in so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.5)


def _free_row(count: int) -> int:
    """The first of so many neighbouring ports that nobody listens on."""
    taken = {c.laddr.port for c in psutil.net_connections("tcp") if c.laddr}
    start = 20000 + os.getpid() % 10000
    row = range(start, 60000)
    return next(p for p in row if not taken & set(range(p, p + count)))
